// SPDX-License-Identifier: Apache-2.0
// A bundle's launches and tensors in the launcher's report.
#pragma once

#include <vector>

#include "bundle/evaluate.h"
#include "common/json_node.h"

namespace aot {

Json launch_json(const Call& call, const Launch& launch);
Json tensors_json(const Manifest& manifest, const std::vector<TensorShape>& shapes);

}  // namespace aot
