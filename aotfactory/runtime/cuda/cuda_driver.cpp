// SPDX-License-Identifier: Apache-2.0
#include "cuda/cuda_driver.h"

#include <dlfcn.h>

#include <algorithm>

namespace aot::cuda {

namespace {

template <typename Pointer>
void find(void* library, const char* name, Pointer& pointer) {
    pointer = reinterpret_cast<Pointer>(dlsym(library, name));
    if (pointer == nullptr) {
        throw Error(Exit::missing,
                    std::string("the CUDA driver lacks ") + name + ": it is too old; 11.4 or newer is needed");
    }
}

}  // namespace

Api::Api() {
    // never closed: the driver does not support being unloaded
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        const char* reason = dlerror();
        throw Error(Exit::missing, std::string("no CUDA driver on this machine (") +
                                       (reason != nullptr ? reason : "?") +
                                       "); install NVIDIA's driver (--dry-run of a bundle needs none)");
    }
#define AOT_FIND(name, ...) find(library, #name, name);
    AOT_CUDA_FUNCTIONS(AOT_FIND)
#undef AOT_FIND
#define AOT_FIND(name, ...) name = reinterpret_cast<decltype(name)>(dlsym(library, #name));
    AOT_CUDA_NEWER_FUNCTIONS(AOT_FIND)
#undef AOT_FIND
}

std::string Api::describe(Result result) const {
    const char* name = nullptr;
    const char* text = nullptr;
    cuGetErrorName(result, &name);
    cuGetErrorString(result, &text);
    return std::string(name != nullptr ? name : "unknown error") + " (" + std::to_string(result) +
           (text != nullptr ? std::string("): ") + text : ")");
}

void Api::check(Result result, const std::string& what) const {
    if (result != success) {
        throw Error(Exit::check, what + ": " + describe(result));
    }
}

Memory::Memory(const Api& api, std::size_t bytes) : api_(&api) {
    const Result result = api.cuMemAlloc_v2(&address_, std::max<std::size_t>(bytes, 1));
    if (result != success) {
        throw Error(Exit::missing,
                    "could not allocate " + std::to_string(bytes) + " bytes on the GPU: " + api.describe(result));
    }
}

Memory::~Memory() {
    if (address_ != 0) {
        api_->cuMemFree_v2(address_);
    }
}

Session::Session(const Api& driver_api, int device_ordinal) : api(driver_api), ordinal(device_ordinal) {
    const auto need = [&](Result result, const char* what) {
        if (result != success) {
            throw Error(Exit::missing, std::string(what) + ": " + api.describe(result) + "; --dry-run needs no GPU");
        }
    };
    need(api.cuInit(0), "the CUDA driver does not start");
    int count = 0;
    need(api.cuDeviceGetCount(&count), "cuDeviceGetCount");
    if (ordinal < 0 || ordinal >= count) {
        throw Error(count == 0 ? Exit::missing : Exit::usage,
                    "no GPU number " + std::to_string(ordinal) + ": the machine has " + std::to_string(count));
    }
    need(api.cuDriverGetVersion(&driver), "cuDriverGetVersion");
    need(api.cuDeviceGet(&device_, ordinal), "cuDeviceGet");
    std::array<char, 256> text{};
    need(api.cuDeviceGetName(text.data(), static_cast<int>(text.size()) - 1, device_), "cuDeviceGetName");
    name = text.data();
    arch = "sm_" + std::to_string(attribute(compute_major) * 10 + attribute(compute_minor));
    l2_bytes = attribute(l2_cache_size);
    max_shared = attribute(max_shared_optin);
    need(api.cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
    Result result = api.cuCtxSetCurrent(context_);
    if (result == success) {
        result = api.cuStreamCreate(&stream_, stream_non_blocking);
    }
    if (result != success) {
        api.cuDevicePrimaryCtxRelease_v2(device_);  // the destructor does not run for a half-made object
        need(result, "could not make a CUDA context and stream");
    }
}

Session::~Session() {
    api.cuStreamDestroy_v2(stream_);
    api.cuDevicePrimaryCtxRelease_v2(device_);
}

int Session::attribute(DeviceAttribute attribute) const {
    int value = 0;
    api.check(api.cuDeviceGetAttribute(&value, attribute, device_), "cuDeviceGetAttribute");
    return value;
}

std::size_t Session::free_bytes() const {
    std::size_t available = 0, total = 0;
    api.check(api.cuMemGetInfo_v2(&available, &total), "cuMemGetInfo");
    return available;
}

Owner<Module> load_module(const Api& api, const std::string& ptx, const std::string& name) {
    std::array<char, 8192> log{};
    std::array<JitOption, 2> options = {error_log_buffer, error_log_bytes};
    // an option's value is passed in the pointer itself
    std::array<void*, 2> values = {log.data(), reinterpret_cast<void*>(log.size() - 1)};
    Module module = nullptr;
    const Result result = api.cuModuleLoadDataEx(&module, ptx.c_str(), static_cast<unsigned>(options.size()),
                                                 options.data(), values.data());
    if (result == unsupported_ptx_version) {
        int driver = 0;
        api.cuDriverGetVersion(&driver);
        throw Error(Exit::missing,
                    name + ": " + api.describe(result) + "; the driver (CUDA " + std::to_string(driver / 1000) + "." +
                        std::to_string(driver % 1000 / 10) +
                        ") is older than the PTX's ISA: update it or compile the bundle with an older --ptx-isa");
    }
    if (result != success) {
        const std::string text = log.data();
        throw Error(Exit::definition,
                    name + ": the driver refuses it: " + api.describe(result) + (text.empty() ? "" : "\n" + text));
    }
    return {module, [&api](Module handle) { api.cuModuleUnload(handle); }};
}

Owner<Event> make_event(const Session& session) {
    const Api& api = session.api;
    Event event = nullptr;
    api.check(api.cuEventCreate(&event, event_default), "cuEventCreate");
    return {event, [&api](Event handle) { api.cuEventDestroy_v2(handle); }};
}

}  // namespace aot::cuda
