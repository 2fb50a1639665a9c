// SPDX-License-Identifier: Apache-2.0
// Which symbols the shapes of the inputs fix. aotfactory/core/dimensions.py solves the same, and the tests compare
// both.
//
// A dimension that is a sum of symbols' multiples and a constant is an equation. Equations are taken in the order of
// the tensors and dimensions, again and again: one with a single unknown symbol gives it its value.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "bundle/manifest.h"
#include "common/arguments.h"

namespace aot {

// Indices of the symbols that no shapes of the inputs could fix.
std::vector<std::size_t> unsolved_symbols(const Manifest& manifest);

// The symbols' values at the given shapes of inputs. Where those do not fix all, the open symbol whose name is
// first in the alphabet takes the profile's `point`, and so on. Throws Error(usage) for shapes that contradict each
// other or the manifest, or, unless `unchecked`, fix a symbol outside of the profile.
std::vector<std::int64_t> bind_symbols(const Manifest& manifest, const std::map<std::string, Shape>& shapes,
                                       ProfilePoint point, bool unchecked);

}  // namespace aot
