// SPDX-License-Identifier: Apache-2.0
// The CUDA driver, loaded at run time, and owners of what it hands out. Every failure is an Error.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "common/error.h"
#include "cuda/cuda_api.h"

namespace aot::cuda {

// The functions of libcuda.so.1. Throws Error(missing) if the library, or one of them, is not there.
struct Api {
    Api();
#define AOT_MEMBER(name, ...) Result (*name)(__VA_ARGS__) = nullptr;
    AOT_CUDA_FUNCTIONS(AOT_MEMBER)
    AOT_CUDA_NEWER_FUNCTIONS(AOT_MEMBER)
#undef AOT_MEMBER

    // Throws Error(check) with CUDA's own name and text for the result unless it is success.
    void check(Result result, const std::string& what) const;
    std::string describe(Result result) const;
};

// A handle and how to give it back; failures to do so are ignored (after a fault every call fails).
template <typename Handle>
using Owner = std::unique_ptr<std::remove_pointer_t<Handle>, std::function<void(Handle)>>;

class Memory {  // a device allocation of at least one byte
public:
    Memory(const Api& api, std::size_t bytes);
    ~Memory();
    Memory(Memory&& other) noexcept : api_(other.api_), address_(other.address_) { other.address_ = 0; }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    Memory& operator=(Memory&&) = delete;
    DevicePointer address() const { return address_; }

private:
    const Api* api_;
    DevicePointer address_ = 0;
};

// A device's primary context, current in this thread, and one stream in it.
class Session {
public:
    Session(const Api& api, int ordinal);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    const Api& api;
    std::string name, arch;  // as "NVIDIA H100 80GB HBM3", "sm_90"
    int ordinal, driver = 0, l2_bytes = 0, max_shared = 0;

    Stream stream() const { return stream_; }
    void synchronize(const std::string& what) const { api.check(api.cuStreamSynchronize(stream_), what); }
    std::size_t free_bytes() const;
    int attribute(DeviceAttribute attribute) const;

private:
    Device device_ = 0;
    Context context_ = nullptr;
    Stream stream_ = nullptr;
};

// Compiles PTX for the current context's device. Throws Error(missing) if the driver is too old for its ISA, else
// Error(definition) with the compiler's log.
Owner<Module> load_module(const Api& api, const std::string& ptx, const std::string& name);

Owner<Event> make_event(const Session& session);

}  // namespace aot::cuda
