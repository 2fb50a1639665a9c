// SPDX-License-Identifier: Apache-2.0
// Measures repeated GPU work: samples between CUDA events, and their statistics.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "common/json_node.h"
#include "cuda/cuda_driver.h"

namespace aot {

struct TimingOptions {
    int warmup = 10;      // passes before the first sample
    int iterations = 50;  // samples
    int repeat = 10;      // passes in a sample: its time is divided by them
    int input_sets = 1;  // copies of all tensors that passes use in turn; 0: so many that the L2 cache can't serve them
    bool graph = false;  // also a CUDA graph of one sample's passes
    bool copy_baseline = false;
};

using Pass = std::function<void(std::size_t)>;  // enqueues pass number n on the session's stream

struct DeviceTimes {  // microseconds of a pass
    std::vector<double> stream, graph;
    double graph_launch_ns = 0;  // host time of cuGraphLaunch, divided by the passes in the graph
    double best() const;         // the smaller of the two medians
};

DeviceTimes time_passes(const cuda::Session& session, const TimingOptions& options, const Pass& pass);

// The statistics of a pass that moves `bytes`, and GB/s (10^9 bytes) from the median.
Json device_json(const DeviceTimes& times, double bytes);

// Minimum, maximum and percentiles (linear between samples).
Json statistics(std::vector<double> samples);
double median(std::vector<double> samples);
double rounded(double value);  // to 1/1000
double host_nanoseconds(const std::function<void()>& work);

}  // namespace aot
