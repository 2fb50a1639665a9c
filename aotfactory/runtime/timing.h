// SPDX-License-Identifier: Apache-2.0
// Times a bundle's calls on the GPU and on the host, next to a device copy of the same size.
#pragma once

#include <cstdint>
#include <vector>

#include "execute.h"
#include "json_node.h"

namespace aot {

struct TimingOptions {
    int warmup = 10;       // passes before the first sample
    int iterations = 50;   // samples
    int repeat = 10;       // passes in a sample: its time is divided by them
    int input_sets = 1;    // copies of all tensors that passes use in turn; 0: so many that the L2 cache can't serve them
    bool graph = false;    // also a CUDA graph of one sample's passes
    bool copy_baseline = false;
};

// A pass runs every call once. The bytes that it moves are those of each call's inputs and outputs, each once, with
// data-dependent tensors at the extent that the checked run found (`outputs`). Times are of passes, in microseconds,
// between CUDA events; the host's are nanoseconds per launch, for three loops in turn: cuLaunchKernel alone, the
// launcher's, and the launcher's with all expressions evaluated anew for every pass.
Json measure(Executor& executor, const std::vector<const Variant*>& variants, const std::vector<Output>& outputs,
             const TimingOptions& options);

// Minimum, maximum and percentiles (linear between samples), rounded to 1/1000.
Json statistics(std::vector<double> samples);

}  // namespace aot
