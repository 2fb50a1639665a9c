// SPDX-License-Identifier: Apache-2.0
// Times a bundle's calls on the GPU and on the host, next to a device copy of the same size.
#pragma once

#include <vector>

#include "common/json_node.h"
#include "cuda/device_time.h"
#include "launcher/execute.h"

namespace aot {

// A pass runs every call once. The bytes that it moves are those of each call's inputs and outputs, each once, with
// data-dependent tensors at the extent that the checked run found (`outputs`). Times are of passes, in microseconds,
// between CUDA events; the host's are nanoseconds per launch, for three loops in turn: cuLaunchKernel alone, the
// launcher's, and the launcher's with all expressions evaluated anew for every pass.
Json measure(Executor& executor, const std::vector<const Variant*>& variants, const std::vector<Output>& outputs,
             const TimingOptions& options);

}  // namespace aot
