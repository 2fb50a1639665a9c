// SPDX-License-Identifier: Apache-2.0
// Patterns that memory holds before a run: what is never written, or read though nothing was written, then shows.
#pragma once

#include <algorithm>
#include <cstddef>

namespace aot {

// 0xff is a NaN in every floating-point type, so what reads it shows; the second pass differs in every bit.
inline constexpr unsigned char first_poison = 0xff, second_poison = 0x00;

// Differs from tensor to tensor: else a copy that runs over both ends would put the same bytes behind its output.
inline unsigned char guard_pattern(unsigned char poison, std::size_t tensor) {
    return static_cast<unsigned char>((0xc5 + 29 * tensor) ^ (poison == first_poison ? 0x00 : 0xff));
}

// Whether all bytes of an element are the pattern's.
inline bool holds(const unsigned char* element, std::size_t bytes, unsigned char pattern) {
    return std::all_of(element, element + bytes, [&](unsigned char byte) { return byte == pattern; });
}

}  // namespace aot
