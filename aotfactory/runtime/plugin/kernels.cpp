// SPDX-License-Identifier: Apache-2.0
#include "plugin/kernels.h"

#include "common/error.h"

namespace aot::plugin {

namespace {

constexpr int always_allowed = 48 << 10;  // bytes of shared memory that no kernel has to ask for

cuda::Context current_context(const cuda::Api& api) {
    cuda::Context context = nullptr;
    return api.cuCtxGetCurrent(&context) == cuda::success ? context : nullptr;
}

int attribute(const cuda::Api& api, cuda::DeviceAttribute which, cuda::Device device) {
    int value = 0;
    api.check(api.cuDeviceGetAttribute(&value, which, device), "cuDeviceGetAttribute");
    return value;
}

cuda::Device current_device(const cuda::Api& api) {
    cuda::Device device = 0;
    api.check(api.cuCtxGetDevice(&device), "cuCtxGetDevice");
    return device;
}

}  // namespace

const cuda::Api& driver() {
    static const cuda::Api api;
    return api;
}

std::optional<std::string> gpu_architecture() {
    try {
        const cuda::Api& api = driver();
        cuda::Device device = 0;
        if (current_context(api) != nullptr) {
            device = current_device(api);
        } else if (api.cuInit(0) != cuda::success || api.cuDeviceGet(&device, 0) != cuda::success) {
            return std::nullopt;
        }
        return "sm_" + std::to_string(attribute(api, cuda::compute_major, device) * 10 +
                                      attribute(api, cuda::compute_minor, device));
    } catch (const Error&) {
        return std::nullopt;
    }
}

LoadedKernel::LoadedKernel(const LaunchedKernel& launched, const std::string& ptx, cuda::Context context)
    : id_(launched.kernel), context_(context) {
    const cuda::Api& api = driver();
    auto module = cuda::load_module(api, ptx, launched.ptx);
    api.check(api.cuModuleGetFunction(&function_, module.get(), launched.kernel.c_str()),
              launched.ptx + ": entry " + quote(launched.kernel));
    api.check(api.cuFuncGetAttribute(&static_shared_, cuda::static_shared, function_), "cuFuncGetAttribute");
    max_shared_ = attribute(api, cuda::max_shared_optin, current_device(api));
    module_ = module.release();
}

LoadedKernel::~LoadedKernel() {
    // A context that is gone has taken its modules along; then it cannot be made current either.
    const cuda::Api& api = driver();
    if (api.cuCtxPushCurrent_v2(context_) == cuda::success) {
        api.cuModuleUnload(module_);
        cuda::Context before = nullptr;
        api.cuCtxPopCurrent_v2(&before);
    }
}

void LoadedKernel::allow_shared(unsigned dynamic) const {
    const auto wanted = static_cast<std::int64_t>(dynamic) + static_shared_;
    if (wanted > max_shared_) {
        throw Error(Exit::check, quote(id_) + " wants " + std::to_string(wanted) +
                                     " bytes of shared memory, the GPU has " + std::to_string(max_shared_));
    }
    if (wanted > always_allowed) {  // all that there is: the function is shared with launches that take more or less
        const cuda::Api& api = driver();
        api.check(api.cuFuncSetAttribute(function_, cuda::max_dynamic_shared, max_shared_ - static_shared_),
                  "cuFuncSetAttribute");
    }
}

std::shared_ptr<const LoadedKernel> Kernels::get(const LaunchedKernel& launched, const std::string& ptx) {
    const cuda::Context context = current_context(driver());
    if (context == nullptr) {
        throw Error(Exit::check, "no CUDA context is current in this thread");
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto each = loaded_.begin(); each != loaded_.end();) {
        each = each->second.expired() ? loaded_.erase(each) : std::next(each);
    }
    auto& place = loaded_[{context, launched.sha256, launched.kernel}];
    auto kernel = place.lock();
    if (kernel == nullptr) {
        kernel = std::make_shared<const LoadedKernel>(launched, ptx, context);
        place = kernel;
    }
    return kernel;
}

}  // namespace aot::plugin
