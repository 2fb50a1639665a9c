// SPDX-License-Identifier: Apache-2.0
// Damages valid files in ways that a parser might not expect.
#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "common/json_node.h"

namespace aot::fuzz {

using Random = std::mt19937_64;

inline std::size_t below(Random& random, std::size_t limit) { return static_cast<std::size_t>(random() % limit); }

// Deletes, duplicates, swaps, nests or replaces one value somewhere in the document.
void mutate_structure(Json& document, Random& random);

// Flips, inserts, removes or repeats bytes, or cuts the text off.
void mutate_bytes(std::string& text, Random& random);

}  // namespace aot::fuzz
