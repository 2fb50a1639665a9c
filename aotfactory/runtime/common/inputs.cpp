// SPDX-License-Identifier: Apache-2.0
#include "common/inputs.h"

#include "common/arguments.h"
#include "common/error.h"
#include "common/limits.h"
#include "common/random.h"

namespace aot {

Inputs::Inputs(const std::vector<std::string>& files, const std::vector<std::string>& shapes,
               const std::vector<std::string>& names) {
    for (const std::string& text : files) {
        const auto [name, path] = parse_assignment(text, "--input", names);
        const auto [file, added] = files_.emplace(name, path);
        if (!added) {
            throw Error(Exit::usage, "--input: twice for " + quote(name));
        }
        shapes_[name] = file->second.shape();
    }
    for (const std::string& text : shapes) {
        const auto [name, shape] = parse_assignment(text, "--shape", names);
        if (!shapes_.emplace(name, parse_shape(shape, "--shape")).second) {
            throw Error(Exit::usage, "--shape: " + quote(name) + " already has a shape or a file");
        }
    }
}

Json Inputs::describe(const std::string& name) const {
    return {{"name", name}, {"source", random(name) ? "random" : files_.at(name).path()}};
}

Bytes Inputs::data(const std::string& name, DType dtype, const Shape& shape, std::uint64_t seed, std::size_t number,
                   std::uint64_t indices) const {
    if (const auto file = files_.find(name); file != files_.end()) {
        return file->second.read(dtype);
    }
    const auto bytes = tensor_bytes(dtype, shape);
    if (!bytes) {
        throw Error(Exit::usage, "input " + quote(name) + " of shape " + aot::describe(shape) + " is larger than " +
                                     std::to_string(limits::tensor_bytes) + " bytes");
    }
    Bytes data(static_cast<std::size_t>(*bytes));
    fill_random(dtype, seed, number, indices, data.data(), data.size() / info(dtype).bytes);
    return data;
}

}  // namespace aot
