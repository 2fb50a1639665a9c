// SPDX-License-Identifier: Apache-2.0
// A tensor's dimensions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace aot {

using Shape = std::vector<std::int64_t>;

inline constexpr std::size_t max_rank = 8;  // TensorRT's
inline constexpr std::int64_t max_extent = (std::int64_t{1} << 31) - 1;
inline constexpr std::int64_t max_tensor_bytes = std::int64_t{1} << 40;

// As "(1, 3, 32, 32)".
inline std::string describe(const Shape& shape) {
    std::string text = "(";
    for (std::size_t i = 0; i < shape.size(); ++i) {
        text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
    }
    return text + ")";
}

}  // namespace aot
