// SPDX-License-Identifier: Apache-2.0
// Seeded input data, the same on every machine and easy to make again elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/dtype.h"

namespace aot {

// Fills `elements` elements with the output of SplitMix64 (https://prng.di.unimi.it/splitmix64.c). Input number `input`
// (counted over the manifest's inputs from 0) starts at the generator's first output for the state seed + input. From a
// 64-bit output u, a floating-point type with an s-bit significand takes k / 2^(s-1) - 1 with k the top s bits of u: in
// [-1, 1) and exact; integers take the top 4 bits of u, less 8 for the signed; bool the top bit.
void fill_random(DType dtype, std::uint64_t seed, std::size_t input, unsigned char* data, std::size_t elements);

}  // namespace aot
