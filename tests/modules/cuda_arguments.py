# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Kernels in CUDA C++ whose arguments `aot_cuda` puts in order."""

from typing import Any, Tuple

import numpy as np

from aotfactory import AotKernel, aot_cuda, trtp

SOURCE = """
#include <cuda_fp16.h>

// __global__ void not_this(int n);
template <typename T, int TIMES>
__global__ void __launch_bounds__(128) scale(T *__restrict__ y, const T *x, long long n, float bias, const float *none)
{
    long long i = blockIdx.x * 128LL + threadIdx.x;
    if (i < n && none == nullptr) y[i] = T(float(x[i]) * TIMES + bias);
}

extern "C" __global__ void halves(const float *x, int n, __half *y) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] = __float2half(x[i]);
}

__global__ void negate(float4 *x, unsigned n) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) { float4 v = x[i]; x[i] = make_float4(-v.x, -v.y, -v.z, -v.w); }
}

__global__ void shared_memory(const void *x, int n, float *y) {
    extern __shared__ float memory[];
    memory[threadIdx.x] = threadIdx.x < n ? ((const float *)x)[threadIdx.x] : 0.f;
    __syncthreads();
    if (threadIdx.x < n) y[threadIdx.x] = memory[n - 1 - threadIdx.x];
}
"""
BROKEN = """
__global__ void broken(const float *x, int n, float *y) {
    int i = threadIdx.x;
    if (i < n) y[i] = x[j];
}
"""


def _call(which: str, x: Any, y: Any) -> AotKernel:
    n = x.shape_expr.numel()
    grid = trtp.cdiv(n, 128)
    if which == "scale":
        types = {"FLOAT": "float", "HALF": "__half"}[x.dtype.name]
        return aot_cuda(
            SOURCE, f"scale<{types}, 3>", x=x, y=y, n=n, bias=0.5, none=None, grid=grid, block=128,
            options=["--use_fast_math"],
        )  # fmt: skip
    if which == "wrong type":
        return aot_cuda(SOURCE, "scale<float, 3>", x=x, y=y, n=n, bias=1, none=None, grid=grid, block=128)
    if which == "halves":
        return aot_cuda(SOURCE, "halves", x=x, y=y, n=n, grid=grid, block=128)
    if which == "float for int":
        return aot_cuda(SOURCE, "scale<float, 3>", x=x, y=y, n=0.5, bias=1, none=None, grid=grid, block=128)
    if which == "missing":
        return aot_cuda(SOURCE, "scale<float, 3>", x=x, y=y, m=n, grid=grid, block=128)
    if which == "no kernel":
        return aot_cuda(SOURCE, "scales", x=x, y=y, grid=grid, block=128)
    if which == "no output":
        return aot_cuda(SOURCE, "negate", x=x, n=n // 4, grid=grid, block=128)
    if which == "include":
        return aot_cuda('#include "no.h"\n__global__ void f(float *x, float *y) {}', "f", x=x, y=y, grid=1, block=1)
    if which == "shared":
        return aot_cuda(SOURCE, "shared_memory", x=x, n=n, y=y, grid=1, block=256, shared_mem=1024)
    assert which == "broken"
    return aot_cuda(BROKEN, "broken", x=x, y=y, n=n, grid=grid, block=(128, 1))


@trtp.register("cuda::call")
def call_desc(x: trtp.TensorDesc, which: str) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("cuda::call")
def call_aot(x: trtp.TensorDesc, which: str, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    return _call(which, x, outputs[0])


@trtp.register("cuda::negate")
def negate_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.aliased()


@trtp.aot_impl("cuda::negate")
def negate_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel() // np.int64(4).item()
    return aot_cuda(SOURCE, "negate", x=x, n=n, grid=trtp.cdiv(n, 256), block=256)
