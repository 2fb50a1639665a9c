# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP007, UP035  (annotations as TensorRT's documentation writes them)
"""y = 3x by a CUDA C++ kernel that NVRTC compiles."""

from typing import Tuple, Union

from aotfactory.plugins import tensorrt_api

tensorrt_api.load()
import tensorrt.plugin as trtp  # noqa: E402

SOURCE = """
extern "C" __global__ void __launch_bounds__(128) triple(const float *x, int n, float *y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = 3 * x[i];
}
"""


@trtp.register("definitions::cuda_cpp")
def triple_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("definitions::cuda_cpp")
def triple_aot(
    x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int
) -> Tuple[Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs]:
    from cuda.bindings import nvrtc

    _, program = nvrtc.nvrtcCreateProgram(SOURCE.encode(), b"triple.cu", 0, [], [])
    (error,) = nvrtc.nvrtcCompileProgram(program, 1, [b"--gpu-architecture=compute_80"])
    assert error == nvrtc.nvrtcResult.NVRTC_SUCCESS, error
    _, size = nvrtc.nvrtcGetPTXSize(program)
    ptx = b" " * size
    nvrtc.nvrtcGetPTX(program, ptx)
    n = x.shape_expr.numel()
    return "triple", ptx, trtp.KernelLaunchParams(trtp.cdiv(n, 128), block_x=128), trtp.SymIntExprs.from_tuple([n])
