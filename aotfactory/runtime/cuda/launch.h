// SPDX-License-Identifier: Apache-2.0
// A launch, with the cluster that only the launch can state, or can allow.
#pragma once

#include "bundle/evaluate.h"
#include "common/limits.h"
#include "cuda/cuda_driver.h"

namespace aot::cuda {

// Lets the function be launched in its clusters, which of more than 8 blocks not every GPU with clusters takes.
// Throws Error(missing) where the driver can't make such a launch, Error(check) where it does not allow it.
inline void make_launchable(const Api& api, Function function, const aot::Launch& launch) {
    if (launch.kernel->cluster[0] != 0 && api.cuLaunchKernelEx == nullptr) {
        throw Error(Exit::missing, "the CUDA driver lacks cuLaunchKernelEx, which launches in clusters: 11.8 has it");
    }
    if (launch.kernel->cluster_blocks() > limits::portable_cluster) {
        api.check(api.cuFuncSetAttribute(function, large_clusters_allowed, 1),
                  "clusters of " + std::to_string(launch.kernel->cluster_blocks()) + " blocks");
    }
}

// `arguments`: the address of each parameter's value. Allocates nothing.
inline Result enqueue(const Api& api, Function function, const aot::Launch& launch, Stream stream, void** arguments) {
    const auto& cluster = launch.kernel->cluster;
    if (cluster[0] == 0) {
        return api.cuLaunchKernel(function, launch.grid[0], launch.grid[1], launch.grid[2], launch.block[0],
                                  launch.block[1], launch.block[2], launch.shared_mem, stream, arguments, nullptr);
    }
    LaunchAttribute attribute{};
    attribute.id = cluster_dimension;
    attribute.value.cluster = {cluster[0], cluster[1], cluster[2]};
    const LaunchConfig config{launch.grid[0],  launch.grid[1],    launch.grid[2], launch.block[0], launch.block[1],
                              launch.block[2], launch.shared_mem, stream,         &attribute,      1};
    return api.cuLaunchKernelEx(&config, function, arguments, nullptr);
}

}  // namespace aot::cuda
