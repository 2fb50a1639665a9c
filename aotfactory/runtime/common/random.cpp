// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

namespace aot {

namespace {

std::uint64_t next(std::uint64_t& state) {
    std::uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

// The bits of a normal number or zero in a format with `significand` bits, hidden one included, and `exponent` bits.
std::uint32_t encode(double value, int significand, int exponent) {
    if (value == 0) {
        return 0;
    }
    int power = 0;
    const double fraction = std::frexp(std::fabs(value), &power);  // in [0.5, 1)
    const auto mantissa =
        static_cast<std::uint32_t>(std::ldexp(fraction, significand)) & ((1u << (significand - 1)) - 1);
    const auto biased = static_cast<std::uint32_t>(power - 1 + (1 << (exponent - 1)) - 1);
    const std::uint32_t sign = value < 0 ? 1u << (significand - 1 + exponent) : 0;
    return sign | biased << (significand - 1) | mantissa;
}

// The element whose number among 2^significand, from -1 up, is `k`.
std::uint32_t floating(DType dtype, int significand, std::uint64_t k) {
    const double value = static_cast<double>(k) / (1u << (significand - 1)) - 1;
    if (dtype == DType::fp32) {
        const auto single = static_cast<float>(value);  // exact
        std::uint32_t bits = 0;
        std::memcpy(&bits, &single, sizeof bits);
        return bits;
    }
    const int exponent = dtype == DType::fp16 ? 5 : dtype == DType::fp8 ? 4 : 8;
    return encode(value, significand, exponent);
}

std::uint64_t integer(DType dtype, std::uint64_t random, std::uint64_t indices) {
    switch (dtype) {
        case DType::boolean: return random >> 63;
        case DType::uint8: return random >> 60;
        case DType::int32:
        case DType::int64: return (random >> 60) % indices;
        default: return (random >> 60) - 8;  // wraps: two's complement
    }
}

}  // namespace

std::uint64_t index_bound(const std::vector<Shape>& shapes) {
    std::int64_t bound = 1;
    for (const Shape& shape : shapes) {
        for (const std::int64_t extent : shape) {
            if (extent > 1 && (bound == 1 || extent < bound)) {
                bound = extent;
            }
        }
    }
    return static_cast<std::uint64_t>(bound);
}

void fill_random(DType dtype, std::uint64_t seed, std::size_t input, std::uint64_t indices, unsigned char* data,
                 std::size_t elements) {
    std::uint64_t start = seed + input;
    std::uint64_t state = next(start);
    const auto [bytes, significand] = std::pair(info(dtype).bytes, info(dtype).significand);
    std::vector<std::uint32_t> table;  // narrow types have few elements, and a large tensor many
    for (std::uint64_t k = 0; significand != 0 && significand <= 11 && k < 1u << significand; ++k) {
        table.push_back(floating(dtype, significand, k));
    }
    for (std::size_t i = 0; i < elements; ++i) {
        const std::uint64_t random = next(state);
        const std::uint64_t k = significand != 0 ? random >> (64 - significand) : 0;
        const std::uint64_t bits = significand == 0 ? integer(dtype, random, indices)
                                   : table.empty()  ? floating(dtype, significand, k)
                                                    : table[static_cast<std::size_t>(k)];
        std::memcpy(data + i * bytes, &bits, bytes);  // little-endian, as every machine with a GPU driver
    }
}

}  // namespace aot
