// SPDX-License-Identifier: Apache-2.0
// Option values that both programs take. Every mistake is an Error(usage) that names the option.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.h"
#include "common/shape.h"

namespace aot {

enum class ProfilePoint : std::uint8_t { min, opt, max };

template <typename Integer>
Integer parse_integer(std::string_view text, const std::string& option) {
    Integer value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        throw Error(Exit::usage, option + ": " + quote(text) + " is not an integer in its range");
    }
    return value;
}

// "1x3x32x32"; "scalar" has no dimensions.
Shape parse_shape(std::string_view text, const std::string& option);

// NAME and VALUE of NAME=VALUE. `names` are those that there are: they and values may hold equals signs, so the longest
// name that fits is taken.
std::pair<std::string, std::string> parse_assignment(const std::string& text, const std::string& option,
                                                     const std::vector<std::string>& names);

}  // namespace aot
