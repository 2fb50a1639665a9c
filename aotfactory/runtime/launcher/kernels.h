// SPDX-License-Identifier: Apache-2.0
// Loaded kernels, and launches of them with their arguments in place.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bundle/bundle.h"
#include "bundle/evaluate.h"
#include "cuda/cuda_driver.h"
#include "cuda/launch.h"
#include "launcher/buffer_set.h"

namespace aot {

struct Kernel {
    cuda::Function function;
    int registers, local_bytes, static_shared;  // per thread, per thread, per block
};

class Kernels {  // each PTX file is loaded once
public:
    Kernels(const cuda::Session& session, const Bundle& bundle) : session_(session), bundle_(bundle) {}

    // Throws as cuda::load_module, and Error(definition) if the PTX has no such entry.
    const Kernel& get(const LaunchedKernel& launched);

private:
    const cuda::Session& session_;
    const Bundle& bundle_;
    std::map<std::string, cuda::Owner<cuda::Module>> modules_;
    std::map<std::pair<std::string, std::string>, Kernel> kernels_;
};

// A launch that needs nothing but the driver's call. Opts in to more than 48 KiB of shared memory where it is needed;
// throws Error(check) if the device has less than the kernel wants.
class PreparedLaunch {
public:
    PreparedLaunch(const cuda::Session& session, const Kernel& kernel, const Call& call, Launch launch,
                   BufferSet& buffers, const std::vector<cuda::DevicePointer>& workspaces);

    PreparedLaunch(PreparedLaunch&&) = default;
    PreparedLaunch(const PreparedLaunch&) = delete;  // arguments_ would point into the original
    PreparedLaunch& operator=(const PreparedLaunch&) = delete;

    // Takes over other grid, block, shared memory and extra arguments of the same kernel.
    void update(const Launch& launch);

    cuda::Result enqueue(const cuda::Api& api, cuda::Stream stream) {
        return cuda::enqueue(api, function_, launch_, stream, arguments_.data());
    }
    const Launch& launch() const { return launch_; }

private:
    cuda::Function function_;
    Launch launch_;
    std::vector<cuda::DevicePointer> pointers_;  // the call's inputs, its outputs, workspaces
    std::vector<void*> arguments_;               // addresses inside pointers_ and launch_.extra_args, which never grow
};

}  // namespace aot
