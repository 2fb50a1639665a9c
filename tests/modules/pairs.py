# SPDX-License-Identifier: Apache-2.0
"""CUDA C++ for a plugin library: clusters that the launch states, a workspace, an int64 and an fp32."""

from aotfactory import AotKernel, aot_cuda, quotient, trt, trtp, workspace

CLUSTER = 2

SOURCE = """
extern "C" __global__ void pairs(const float *x, float *y, float *last, long long n, float scale) {
    unsigned rank;
    asm("mov.u32 %0, %cluster_ctarank;" : "=r"(rank));
    for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n / 960 / 960; i += gridDim.x * blockDim.x) {
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
        n=n * 960 * 960,
        scale=quotient(n, 7),
        grid=x.shape_expr[0] * 2,
        block=64,
        cluster=CLUSTER,
    )
