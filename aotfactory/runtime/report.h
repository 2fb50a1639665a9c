// SPDX-License-Identifier: Apache-2.0
// The JSON that the launcher prints, and the files that it writes.
#pragma once

#include <string>
#include <vector>

#include "execute.h"
#include "json_node.h"

namespace aot {

Json launch_json(const Call& call, const Launch& launch);
Json tensors_json(const Manifest& manifest, const std::vector<TensorShape>& shapes);
Json checks_json(const std::vector<Check>& checks);

// Files of shared libraries that are mapped into this process, from /proc/self/maps: the proof that none is Python's.
std::vector<std::string> mapped_libraries();

// Writes a tensor as NAME.npy into the directory, which is made if needed, and describes it. Letters of the name other
// than A-Z a-z 0-9 _ - and inner dots are written as %XX.
Json write_tensor(const std::string& directory, const Tensor& tensor, const Shape& dims, const Bytes& data);

std::string file_name(const std::string& tensor_name);

}  // namespace aot
