# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Asks for a GPU while it is imported, as tutorials and libraries do."""

from typing import Tuple

import torch
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, aot_kernel, trtp

DRIVER = triton.runtime.driver.active
PROPERTIES = DRIVER.utils.get_device_properties(DRIVER.get_current_device())
ARCH = DRIVER.get_current_target().arch
WARP = torch.cuda.get_device_properties(0).warp_size
MAJOR, MINOR = torch.cuda.get_device_capability()
assert torch.cuda.is_available()
assert torch.cuda.get_device_name().startswith("NVIDIA")
assert MAJOR * 10 + MINOR == ARCH
assert PROPERTIES["warpSize"] == WARP
assert PROPERTIES["multiprocessor_count"] == torch.cuda.get_device_properties(0).multi_processor_count


@triton.jit
def double_kernel(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n) * 2, mask=i < n)


@trtp.register("asks::double")
def double_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("asks::double")
def double_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n, block = x.shape_expr.numel(), WARP * (4 if ARCH >= 90 else 2)
    return aot_kernel(double_kernel, x=x, y=outputs[0], n=n, BLOCK=block, grid=trtp.cdiv(n, block))


RECIPE = Recipe(
    name="double",
    plugin="asks::double",
    summary="",
    inputs=(Input(name="x", shape=(3, 48), dims=("N", "C")),),
    dtypes=("fp32",),
    reference=lambda x: 2 * x,
)
