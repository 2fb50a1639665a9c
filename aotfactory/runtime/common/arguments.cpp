// SPDX-License-Identifier: Apache-2.0
#include "common/arguments.h"

#include <algorithm>
#include <utility>

namespace aot {

namespace {

std::pair<std::string, std::string> split(const std::string& text, const std::string& option,
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

}  // namespace

Shape parse_shape(std::string_view text, const std::string& option) {
    Shape shape;
    if (text == "scalar") {
        return shape;
    }
    for (std::size_t start = 0; start <= text.size();) {
        const std::size_t end = std::min(text.find('x', start), text.size());
        shape.push_back(parse_integer<std::int64_t>(text.substr(start, end - start), option));
        if (shape.back() < 0 || shape.back() > max_extent || shape.size() > max_rank) {
            throw Error(Exit::usage, option + ": " + quote(text) + " is not a shape of at most " +
                                         std::to_string(max_rank) + " dimensions below 2^31");
        }
        start = end + 1;
    }
    return shape;
}

InputOptions parse_inputs(const std::vector<std::string>& files, const std::vector<std::string>& shapes,
                          const std::vector<std::string>& names) {
    InputOptions result;
    for (const std::string& text : files) {
        if (const auto [name, file] = split(text, "--input", names); !result.files.emplace(name, file).second) {
            throw Error(Exit::usage, "--input: twice for " + quote(name));
        }
    }
    for (const std::string& text : shapes) {
        const auto [name, shape] = split(text, "--shape", names);
        if (result.files.count(name) != 0 || !result.shapes.emplace(name, parse_shape(shape, "--shape")).second) {
            throw Error(Exit::usage, "--shape: " + quote(name) + " already has a shape or a file");
        }
    }
    return result;
}

}  // namespace aot
