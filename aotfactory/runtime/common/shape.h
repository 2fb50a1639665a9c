// SPDX-License-Identifier: Apache-2.0
// A tensor's dimensions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace aot {

using Shape = std::vector<std::int64_t>;

// As "(1, 3, 32, 32)".
inline std::string describe(const Shape& shape) {
    std::string text = "(";
    for (std::size_t i = 0; i < shape.size(); ++i) {
        text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
    }
    return text + ")";
}

}  // namespace aot
