// SPDX-License-Identifier: Apache-2.0
#include "common/error.h"

namespace aot {

std::string quote(std::string_view text) {
    constexpr std::size_t limit = 120;
    std::string result = "'";
    for (const char letter : text.substr(0, limit)) {
        const auto byte = static_cast<unsigned char>(letter);
        if (byte >= 0x20 && byte < 0x7f) {
            result += letter;
        } else {
            constexpr char digits[] = "0123456789abcdef";
            result += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
        }
    }
    return result + (text.size() > limit ? "...'" : "'");
}

}  // namespace aot
