// SPDX-License-Identifier: Apache-2.0
// Compiles only if the launcher's own declarations of the CUDA driver API have the binary interface of a toolkit's
// cuda.h:
//   g++ -std=c++17 -fsyntax-only -I aotfactory/runtime -I /usr/local/cuda/include tests/cpp/cuda_api_check.cpp
#include <cuda.h>

#include <cstddef>
#include <type_traits>

#include "cuda/cuda_api.h"

namespace {

// Both pointers, or both integers (or enums) of one size and, but for enums, one signedness.
template <typename Own, typename Real>
constexpr bool same_parameter() {
    if constexpr (std::is_pointer_v<Own> || std::is_pointer_v<Real>) {
        return std::is_pointer_v<Own> && std::is_pointer_v<Real>;
    } else {
        constexpr bool either_enum = std::is_enum_v<Own> || std::is_enum_v<Real>;
        return sizeof(Own) == sizeof(Real) && !std::is_floating_point_v<Own> && !std::is_floating_point_v<Real> &&
               (either_enum || std::is_signed_v<Own> == std::is_signed_v<Real>);
    }
}

template <typename Own, typename Real>
struct Same : std::false_type {};

template <typename... Own, typename RealResult, typename... Real>
struct Same<aot::cuda::Result (*)(Own...), RealResult (*)(Real...)> {
    static constexpr bool check() {
        if constexpr (sizeof...(Own) == sizeof...(Real)) {
            return std::is_same_v<RealResult, CUresult> && (same_parameter<Own, Real>() && ...);
        } else {
            return false;
        }
    }
    static constexpr bool value = check();
};

namespace own {
using namespace aot::cuda;
#define AOT_TYPE(name, ...) using name = Result (*)(__VA_ARGS__);
AOT_CUDA_FUNCTIONS(AOT_TYPE)
AOT_CUDA_NEWER_FUNCTIONS(AOT_TYPE)
#undef AOT_TYPE
}  // namespace own

#define AOT_CHECK(name, ...) static_assert(Same<own::name, decltype(&::name)>::value, #name " differs from cuda.h");
AOT_CUDA_FUNCTIONS(AOT_CHECK)
AOT_CUDA_NEWER_FUNCTIONS(AOT_CHECK)

static_assert(sizeof(aot::cuda::Result) == sizeof(CUresult));
static_assert(sizeof(aot::cuda::DevicePointer) == sizeof(CUdeviceptr));
static_assert(sizeof(aot::cuda::Device) == sizeof(CUdevice));
static_assert(sizeof(aot::cuda::JitOption) == sizeof(CUjit_option));
static_assert(static_cast<int>(aot::cuda::success) == CUDA_SUCCESS);
static_assert(static_cast<int>(aot::cuda::unsupported_ptx_version) == CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
static_assert(static_cast<int>(aot::cuda::l2_cache_size) == CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
static_assert(static_cast<int>(aot::cuda::compute_major) == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(static_cast<int>(aot::cuda::compute_minor) == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(static_cast<int>(aot::cuda::max_shared_optin) == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
static_assert(static_cast<int>(aot::cuda::static_shared) == CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
static_assert(static_cast<int>(aot::cuda::local_bytes) == CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
static_assert(static_cast<int>(aot::cuda::registers) == CU_FUNC_ATTRIBUTE_NUM_REGS);
static_assert(static_cast<int>(aot::cuda::max_dynamic_shared) == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
static_assert(static_cast<int>(aot::cuda::large_clusters_allowed) ==
              CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED);
static_assert(static_cast<int>(aot::cuda::error_log_buffer) == CU_JIT_ERROR_LOG_BUFFER);
static_assert(static_cast<int>(aot::cuda::error_log_bytes) == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
static_assert(static_cast<unsigned>(aot::cuda::stream_non_blocking) == CU_STREAM_NON_BLOCKING);
static_assert(static_cast<unsigned>(aot::cuda::event_default) == CU_EVENT_DEFAULT);
static_assert(static_cast<int>(aot::cuda::cluster_dimension) == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
static_assert(sizeof(aot::cuda::LaunchAttribute) == sizeof(CUlaunchAttribute));
static_assert(offsetof(aot::cuda::LaunchAttribute, value) == offsetof(CUlaunchAttribute, value));
static_assert(sizeof(aot::cuda::LaunchConfig) == sizeof(CUlaunchConfig));
static_assert(offsetof(aot::cuda::LaunchConfig, stream) == offsetof(CUlaunchConfig, hStream));
static_assert(offsetof(aot::cuda::LaunchConfig, attributes) == offsetof(CUlaunchConfig, attrs));
static_assert(offsetof(aot::cuda::LaunchConfig, attribute_count) == offsetof(CUlaunchConfig, numAttrs));
static_assert(static_cast<int>(aot::cuda::capture_thread_local) == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);

}  // namespace
