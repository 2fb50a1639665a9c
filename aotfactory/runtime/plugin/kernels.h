// SPDX-License-Identifier: Apache-2.0
// Kernels on the GPU: each PTX is loaded once for each CUDA context, shared by all plugins, and unloaded with the last.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

#include "bundle/bundle.h"
#include "cuda/cuda_driver.h"

namespace aot::plugin {

const cuda::Api& driver();  // opened once; throws Error(missing), each time it is asked for, where there is none

// The architecture of the current context's GPU, of the first one where no context is current; nothing without a GPU.
std::optional<std::string> gpu_architecture();

class LoadedKernel {
public:
    LoadedKernel(const LaunchedKernel& launched, const std::string& ptx, cuda::Context context);
    ~LoadedKernel();
    LoadedKernel(const LoadedKernel&) = delete;
    LoadedKernel& operator=(const LoadedKernel&) = delete;

    cuda::Function function() const { return function_; }
    cuda::Context context() const { return context_; }

    // Throws Error(check) if the GPU has less shared memory than a launch with so many dynamic bytes takes.
    void allow_shared(unsigned dynamic) const;

private:
    std::string id_;
    cuda::Context context_;
    cuda::Module module_ = nullptr;
    cuda::Function function_ = nullptr;
    int static_shared_ = 0, max_shared_ = 0;
};

class Kernels {
public:
    // The kernel in the current context, loaded if no plugin has it there. Throws as cuda::load_module.
    std::shared_ptr<const LoadedKernel> get(const LaunchedKernel& launched, const std::string& ptx);

private:
    using Key = std::tuple<cuda::Context, std::string, std::string>;  // context, SHA-256 of the PTX, entry
    std::mutex mutex_;
    std::map<Key, std::weak_ptr<const LoadedKernel>> loaded_;
};

}  // namespace aot::plugin
