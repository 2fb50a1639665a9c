// SPDX-License-Identifier: Apache-2.0
// Seeded input data, the same on every machine and easy to make again elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/dtype.h"
#include "common/shape.h"

namespace aot {

// Fills `elements` elements with the output of SplitMix64 (https://prng.di.unimi.it/splitmix64.c). Input number `input`
// (counted over the manifest's inputs from 0) starts at the generator's first output for the state seed + input. From a
// 64-bit output u, a floating-point type with an s-bit significand takes k / 2^(s-1) - 1 with k the top s bits of u: in
// [-1, 1) and exact; bool takes the top bit; integers the top 4 bits of u: int8 less 8; int32 and int64, which may be
// indices, modulo `indices`.
void fill_random(DType dtype, std::uint64_t seed, std::size_t input, std::uint64_t indices, unsigned char* data,
                 std::size_t elements);

// The least extent over 1 of any of these shapes, or 1: what is below it is an index into any of them.
std::uint64_t index_bound(const std::vector<Shape>& shapes);

}  // namespace aot
