// SPDX-License-Identifier: Apache-2.0
// The JSON that a program prints, and the tensors that it writes.
#pragma once

#include <string>
#include <vector>

#include "common/check.h"
#include "common/json_node.h"
#include "common/npy.h"

namespace aot {

Json checks_json(const std::vector<Check>& checks);
void print_failures(const std::vector<Check>& checks);  // on stderr

// Files of shared libraries that are mapped into this process, from /proc/self/maps: the proof that none is Python's.
std::vector<std::string> mapped_libraries();

// Writes a tensor as NAME.npy into the directory, which is made if needed, and describes it. Letters of the name other
// than A-Z a-z 0-9 _ - and inner dots are written as %XX.
Json write_tensor(const std::string& directory, const std::string& name, DType dtype, const Shape& shape,
                  const Bytes& data);

std::string file_name(const std::string& tensor_name);

}  // namespace aot
