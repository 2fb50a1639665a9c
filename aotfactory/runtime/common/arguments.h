// SPDX-License-Identifier: Apache-2.0
// Option values that both programs take. Every mistake is an Error(usage) that names the option.
#pragma once

#include <charconv>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/shape.h"

namespace aot {

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

struct InputOptions {
    std::map<std::string, std::string> files;  // input -> .npy file
    std::map<std::string, Shape> shapes;       // input -> shape of random data; none for one with a file
};

// From NAME=FILE.npy and NAME=1x3x32x32. `names` are the inputs that there are: names and files may hold equals signs,
// so the longest name that fits is taken.
InputOptions parse_inputs(const std::vector<std::string>& files, const std::vector<std::string>& shapes,
                          const std::vector<std::string>& names);

}  // namespace aot
