// SPDX-License-Identifier: Apache-2.0
#include "launcher/kernels.h"

#include <algorithm>

namespace aot {

const Kernel& Kernels::get(const LaunchedKernel& launched) {
    const auto key = std::make_pair(launched.ptx, launched.kernel);
    if (const auto found = kernels_.find(key); found != kernels_.end()) {
        return found->second;
    }
    auto module = modules_.find(launched.ptx);
    if (module == modules_.end()) {
        module =
            modules_.emplace(launched.ptx, cuda::load_module(session_.api, bundle_.ptx.at(launched.ptx), launched.ptx))
                .first;
    }
    const auto& api = session_.api;
    Kernel kernel{};
    const cuda::Result result =
        api.cuModuleGetFunction(&kernel.function, module->second.get(), launched.kernel.c_str());
    if (result != cuda::success) {
        throw Error(Exit::definition, launched.ptx + ": entry " + quote(launched.kernel) + ": " + api.describe(result));
    }
    const auto attribute = [&](cuda::FunctionAttribute which, int& value) {
        api.check(api.cuFuncGetAttribute(&value, which, kernel.function), "cuFuncGetAttribute");
    };
    attribute(cuda::registers, kernel.registers);
    attribute(cuda::local_bytes, kernel.local_bytes);
    attribute(cuda::static_shared, kernel.static_shared);
    return kernels_.emplace(key, kernel).first->second;
}

PreparedLaunch::PreparedLaunch(const cuda::Session& session, const Kernel& kernel, const Call& call, Launch launch,
                               BufferSet& buffers, const std::vector<cuda::DevicePointer>& workspaces)
    : function_(kernel.function), launch_(std::move(launch)) {
    constexpr int default_shared = 48 << 10;
    const int dynamic = static_cast<int>(launch_.shared_mem), shared = dynamic + kernel.static_shared;
    if (shared > session.max_shared) {
        throw Error(Exit::check, quote(launch_.variant->id) + " wants " + std::to_string(shared) +
                                     " bytes of shared memory, " + session.name + " has " +
                                     std::to_string(session.max_shared));
    }
    if (shared > default_shared) {
        session.api.check(session.api.cuFuncSetAttribute(function_, cuda::max_dynamic_shared, dynamic),
                          "cuFuncSetAttribute");
    }
    cuda::make_launchable(session.api, function_, launch_);
    for (const auto* tensors : {&call.inputs, &call.outputs}) {
        for (const std::size_t tensor : *tensors) {
            pointers_.push_back(buffers.of(tensor).address());
        }
    }
    pointers_.insert(pointers_.end(), workspaces.begin(), workspaces.end());
    for (std::size_t i = 0; i < pointers_.size(); ++i) {
        arguments_.push_back(&pointers_[i]);
    }
    std::vector<void*> extra;
    for (Scalar& argument : launch_.extra_args) {
        extra.push_back(argument.address());
    }
    arguments_.insert(arguments_.begin() + static_cast<std::ptrdiff_t>(call.inputs.size()), extra.begin(), extra.end());
}

void PreparedLaunch::update(const Launch& launch) {
    launch_.grid = launch.grid;
    launch_.block = launch.block;
    launch_.shared_mem = launch.shared_mem;
    std::copy(launch.extra_args.begin(), launch.extra_args.end(), launch_.extra_args.begin());
}

}  // namespace aot
