# SPDX-License-Identifier: Apache-2.0
"""x minus its mean, for a plugin library: a Triton kernel, then CUDA C++ in clusters of 16 that the launch states."""

import numpy as np
import triton
import triton.language as tl

from aotfactory import (
    AotKernel,
    Input,
    Recipe,
    Tolerance,
    aot_kernels,
    launch,
    launch_cuda,
    quotient,
    trt,
    trtp,
    workspace,
)

CLUSTER = 16


@triton.jit
def sum_kernel(x_ptr, n, sums_ptr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(sums_ptr + tl.program_id(0), tl.sum(tl.load(x_ptr + i, mask=i < n, other=0.0), 0))


MINUS = """
extern "C" __global__ void minus_mean(const float *x, const float *sums, int blocks, float scale, int n, float *y) {
    unsigned size;  // of the cluster: in another one the result is wrong
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
    float total = 0;
    for (int i = 0; i < blocks; ++i) {
        total += sums[i];
    }
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        y[i] = x[i] - total * scale + (float(size) - 16.0f);
    }
}
"""


@trtp.register("road::mixed")
def register(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.autotune("road::mixed")
def autotune(x: trtp.TensorDesc, outputs: tuple[trtp.TensorDesc]) -> list[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32", "LINEAR")]


@trtp.aot_impl("road::mixed")
def aot_impl(x: trtp.TensorDesc, outputs: tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    blocks = trtp.cdiv(n, 64)
    sums = workspace(blocks, trt.float32)
    return aot_kernels(
        launch(sum_kernel, x_ptr=x, n=n, sums_ptr=sums, BLOCK=64, grid=blocks),
        launch_cuda(
            MINUS,
            "minus_mean",
            x=x,
            sums=sums,
            blocks=blocks,
            scale=quotient(1, n),
            n=n,
            y=outputs[0],
            grid=CLUSTER,
            block=64,
            cluster=CLUSTER,
        ),
    )


RECIPE = Recipe(
    name="mixed",
    plugin="road::mixed",
    summary="x minus its mean, by Triton and CUDA C++",
    inputs=(Input(name="x", shape=(8, 48), dims=("N", "C")),),
    dtypes=("fp32",),
    dynamic=("N",),
    reference=lambda x: x - x.astype(np.float64).mean(),
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-5)},
)
