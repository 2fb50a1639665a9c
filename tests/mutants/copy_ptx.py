# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP007, UP035  (annotations as TensorRT's documentation writes them)
"""A good plugin whose kernel is hand-written PTX, for test_mutations.py to break: y = x."""

from typing import Tuple, Union

from aotfactory.plugins import tensorrt_api
from aotfactory.recipe import Input, Recipe

tensorrt_api.load()
import tensorrt.plugin as trtp  # noqa: E402

PTX = """
.version 7.0
.target sm_80
.address_size 64

.visible .entry copy(.param .u64 x, .param .u32 n, .param .u64 y)
.reqntid 64, 1, 1
{
    .reg .pred %p<2>;
    .reg .b32 %r<8>;
    .reg .b64 %rd<8>;
    ld.param.u64 %rd1, [x];
    ld.param.u32 %r1, [n];
    ld.param.u64 %rd2, [y];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %tid.x;
    mad.lo.u32 %r4, %r2, 64, %r3;
    setp.ge.u32 %p1, %r4, %r1;
    @%p1 bra done;
    mul.wide.u32 %rd3, %r4, 4;
    add.u64 %rd4, %rd1, %rd3;
    add.u64 %rd5, %rd2, %rd3;
    ld.global.b32 %r5, [%rd4];
    st.global.b32 [%rd5], %r5;
done:
    ret;
}
"""


@trtp.register("mutants::copy_ptx")
def copy_ptx_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("mutants::copy_ptx")
def copy_ptx_aot(
    x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int
) -> Tuple[Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs]:
    n = x.shape_expr.numel()
    launch = trtp.KernelLaunchParams()
    launch.grid_x = trtp.cdiv(n, 64)
    launch.block_x = 64
    extra_args = trtp.SymIntExprs(1)
    extra_args[0] = trtp.SymInt32(n)
    return "copy", PTX, launch, extra_args


RECIPE = Recipe(
    name="copy_ptx",
    plugin="mutants::copy_ptx",
    summary="y = x",
    inputs=(Input(name="x", shape=(7, 48), dims=("N", "C")),),
    dtypes=("fp32",),
    reference=lambda x: x,
)
