// SPDX-License-Identifier: Apache-2.0
#include "common/arguments.h"
#include "common/limits.h"

#include <algorithm>

namespace aot {

Shape parse_shape(std::string_view text, const std::string& option) {
    Shape shape;
    if (text == "scalar") {
        return shape;
    }
    for (std::size_t start = 0; start <= text.size();) {
        const std::size_t end = std::min(text.find('x', start), text.size());
        shape.push_back(parse_integer<std::int64_t>(text.substr(start, end - start), option));
        if (shape.back() < 0 || shape.back() > limits::extent || shape.size() > limits::rank) {
            throw Error(Exit::usage, option + ": " + quote(text) + " is not a shape of at most " +
                                         std::to_string(limits::rank) + " dimensions below 2^31");
        }
        start = end + 1;
    }
    return shape;
}

std::pair<std::string, std::string> parse_assignment(const std::string& text, const std::string& option,
                                                     const std::vector<std::string>& names) {
    const std::size_t first = text.find('=');
    if (first == 0 || first == std::string::npos || first + 1 == text.size()) {
        throw Error(Exit::usage, option + " takes NAME=VALUE, not " + quote(text));
    }
    for (std::size_t equals = text.rfind('='); equals != std::string::npos && equals != 0;
         equals = text.rfind('=', equals - 1)) {
        const std::string name = text.substr(0, equals);
        if (equals + 1 < text.size() && std::find(names.begin(), names.end(), name) != names.end()) {
            return {name, text.substr(equals + 1)};
        }
    }
    std::string known;
    for (const std::string& name : names) {
        known += (known.empty() ? "" : ", ") + quote(name);
    }
    throw Error(Exit::usage,
                option + ": there is no input " + quote(text.substr(0, first)) + "; the inputs are " + known);
}

}  // namespace aot
