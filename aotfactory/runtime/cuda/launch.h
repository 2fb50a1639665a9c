// SPDX-License-Identifier: Apache-2.0
// A launch, with the cluster that only the launch can state.
#pragma once

#include "bundle/evaluate.h"
#include "cuda/cuda_driver.h"

namespace aot::cuda {

// Throws Error(missing) where the driver can't make such a launch.
inline void require_launchable(const Api& api, const aot::Launch& launch) {
    if (launch.kernel->cluster[0] != 0 && api.cuLaunchKernelEx == nullptr) {
        throw Error(Exit::missing, "the CUDA driver lacks cuLaunchKernelEx, which launches in clusters: 11.8 has it");
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
