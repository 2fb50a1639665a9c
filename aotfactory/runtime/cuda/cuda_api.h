// SPDX-License-Identifier: Apache-2.0
// The few types, constants and functions of the CUDA driver API that the launcher uses, declared here so that it builds
// without the CUDA toolkit. tests/cpp/cuda_api_check.cpp compares them with a toolkit's cuda.h.
// https://docs.nvidia.com/cuda/cuda-driver-api/
#pragma once

#include <cstddef>

namespace aot::cuda {

using Result = int;
using Device = int;
using DevicePointer = unsigned long long;
using Context = struct ContextHandle*;
using Module = struct ModuleHandle*;
using Function = struct FunctionHandle*;
using Stream = struct StreamHandle*;
using Event = struct EventHandle*;
using Graph = struct GraphHandle*;
using GraphExec = struct GraphExecHandle*;

enum : Result { success = 0, unsupported_ptx_version = 222 };
enum DeviceAttribute : int { l2_cache_size = 38, compute_major = 75, compute_minor = 76, max_shared_optin = 97 };
enum FunctionAttribute : int {
    static_shared = 1,
    local_bytes = 3,
    registers = 4,
    max_dynamic_shared = 8,
    large_clusters_allowed = 14
};
enum JitOption : int { error_log_buffer = 5, error_log_bytes = 6 };
enum : unsigned { stream_non_blocking = 1, event_default = 0 };
enum CaptureMode : int { capture_thread_local = 1 };
enum LaunchAttributeId : int { cluster_dimension = 4 };

struct LaunchAttribute {  // CUlaunchAttribute, whose value has room for 64 bytes
    LaunchAttributeId id;
    char padding[4];
    union {
        char room[64];
        struct {
            unsigned x, y, z;
        } cluster;
    } value;
};

struct LaunchConfig {  // CUlaunchConfig
    unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_mem;
    Stream stream;
    LaunchAttribute* attributes;
    unsigned attribute_count;
};

}  // namespace aot::cuda

// X(name of the exported symbol, parameter types...). A suffix _v2 is part of the binary interface: the names without
// it are older functions with other signatures (cuda.h renames by macro).
#define AOT_CUDA_FUNCTIONS(X)                                                                                         \
    X(cuInit, unsigned)                                                                                               \
    X(cuDriverGetVersion, int*)                                                                                       \
    X(cuGetErrorName, Result, const char**)                                                                           \
    X(cuGetErrorString, Result, const char**)                                                                         \
    X(cuDeviceGetCount, int*)                                                                                         \
    X(cuDeviceGet, Device*, int)                                                                                      \
    X(cuDeviceGetName, char*, int, Device)                                                                            \
    X(cuDeviceGetAttribute, int*, DeviceAttribute, Device)                                                            \
    X(cuDevicePrimaryCtxRetain, Context*, Device)                                                                     \
    X(cuDevicePrimaryCtxRelease_v2, Device)                                                                           \
    X(cuCtxSetCurrent, Context)                                                                                       \
    X(cuCtxGetCurrent, Context*)                                                                                      \
    X(cuCtxGetDevice, Device*)                                                                                        \
    X(cuCtxPushCurrent_v2, Context)                                                                                   \
    X(cuCtxPopCurrent_v2, Context*)                                                                                   \
    X(cuMemGetInfo_v2, std::size_t*, std::size_t*)                                                                    \
    X(cuMemAlloc_v2, DevicePointer*, std::size_t)                                                                     \
    X(cuMemFree_v2, DevicePointer)                                                                                    \
    X(cuMemcpyHtoDAsync_v2, DevicePointer, const void*, std::size_t, Stream)                                          \
    X(cuMemcpyDtoHAsync_v2, void*, DevicePointer, std::size_t, Stream)                                                \
    X(cuMemcpyDtoDAsync_v2, DevicePointer, DevicePointer, std::size_t, Stream)                                        \
    X(cuMemsetD8Async, DevicePointer, unsigned char, std::size_t, Stream)                                             \
    X(cuStreamCreate, Stream*, unsigned)                                                                              \
    X(cuStreamSynchronize, Stream)                                                                                    \
    X(cuStreamDestroy_v2, Stream)                                                                                     \
    X(cuStreamBeginCapture_v2, Stream, CaptureMode)                                                                   \
    X(cuStreamEndCapture, Stream, Graph*)                                                                             \
    X(cuGraphInstantiateWithFlags, GraphExec*, Graph, unsigned long long)                                             \
    X(cuGraphLaunch, GraphExec, Stream)                                                                               \
    X(cuGraphExecDestroy, GraphExec)                                                                                  \
    X(cuGraphDestroy, Graph)                                                                                          \
    X(cuEventCreate, Event*, unsigned)                                                                                \
    X(cuEventRecord, Event, Stream)                                                                                   \
    X(cuEventElapsedTime, float*, Event, Event)                                                                       \
    X(cuEventDestroy_v2, Event)                                                                                       \
    X(cuModuleLoadDataEx, Module*, const void*, unsigned, JitOption*, void**)                                         \
    X(cuModuleGetFunction, Function*, Module, const char*)                                                            \
    X(cuModuleUnload, Module)                                                                                         \
    X(cuFuncGetAttribute, int*, FunctionAttribute, Function)                                                          \
    X(cuFuncSetAttribute, Function, FunctionAttribute, int)                                                           \
    X(cuLaunchKernel, Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void**, \
      void**)

// The same for what older drivers lack: null there. cuLaunchKernelEx came with CUDA 11.8.
#define AOT_CUDA_NEWER_FUNCTIONS(X) X(cuLaunchKernelEx, const LaunchConfig*, Function, void**, void**)
