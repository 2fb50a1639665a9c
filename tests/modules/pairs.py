# SPDX-License-Identifier: Apache-2.0
"""CUDA C++ for a plugin library: clusters that the launch states, a workspace, an int64 and an fp32."""

import numpy as np

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_cuda, quotient, trt, trtp, workspace

CLUSTER = 2

SOURCE = """
extern "C" __global__ void pairs(const float *x, float *y, float *last, long long n, float scale) {
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n / 960 / 7680; i += gridDim.x * blockDim.x) {
        last[i] = x[i] * scale;
        y[i] = last[i] + rank;
    }
}
"""


@trtp.register("road::pairs")
def register(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.autotune("road::pairs")
def autotune(x: trtp.TensorDesc, outputs: tuple[trtp.TensorDesc]) -> list[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32", "LINEAR")]


@trtp.aot_impl("road::pairs")
def aot_impl(x: trtp.TensorDesc, outputs: tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    return aot_cuda(
        SOURCE,
        "pairs",
        x=x,
        y=outputs[0],
        last=workspace(n, trt.float32),
        n=n * 960 * 7680,
        scale=quotient(n, 7),
        grid=x.shape_expr[0] * 2,
        block=64,
        cluster=CLUSTER,
    )


def reference(x: np.ndarray) -> np.ndarray:
    """Blocks of 64 elements, two to a cluster: x times its size / 7, plus the block's rank in the cluster."""
    scale = np.float32(x.size / 7)
    return x * scale + (np.arange(x.size) // 64 % 2).reshape(x.shape)


RECIPE = Recipe(
    name="pairs",
    plugin="road::pairs",
    summary="a kernel in clusters that the launch states",
    inputs=(Input(name="x", shape=(8, 48), dims=("N", "C")),),
    dtypes=("fp32",),
    dynamic=("N",),
    reference=reference,
    tolerance={"fp32": Tolerance(rtol=1e-6, atol=1e-6)},
)
