// SPDX-License-Identifier: Apache-2.0
// The data of a program's inputs: from files, or random.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/dtype.h"
#include "common/json_node.h"
#include "common/npy.h"
#include "common/shape.h"

namespace aot {

class Inputs {
public:
    // From NAME=FILE.npy and NAME=1x3x32x32 (see parse_assignment); an input has at most one of either. Error(usage).
    Inputs(const std::vector<std::string>& files, const std::vector<std::string>& shapes,
           const std::vector<std::string>& names);

    const std::map<std::string, Shape>& shapes() const { return shapes_; }  // as given, or as the files have them
    bool random(const std::string& name) const { return files_.count(name) == 0; }
    Json describe(const std::string& name) const;  // {"name": ..., "source": "random" or the file}

    // The data of input number `number` (see fill_random), whose file must be of this type. `shape` is that of shapes()
    // where that has one; `indices` the bound of made-up ones.
    Bytes data(const std::string& name, DType dtype, const Shape& shape, std::uint64_t seed, std::size_t number,
               std::uint64_t indices) const;

private:
    std::map<std::string, NpyFile> files_;
    std::map<std::string, Shape> shapes_;
};

}  // namespace aot
