# SPDX-License-Identifier: Apache-2.0
"""A small module of plugin definitions to make mistakes in: it copies a tensor with a kernel of hand-written PTX."""

from __future__ import annotations

import itertools
from pathlib import Path

PTX = """\\
.version 7.0
.target sm_80
.address_size 64
.visible .entry copy(.param .u64 x, .param .u32 n, .param .u64 y)
.reqntid 64
{
.reg .b32 %r<6>;
.reg .b64 %rd<8>;
.reg .f32 %f<2>;
.reg .pred %p<2>;
ld.param.u64 %rd1, [x];
ld.param.u32 %r1, [n];
ld.param.u64 %rd2, [y];
mov.u32 %r2, %ctaid.x;
mov.u32 %r3, %tid.x;
mad.lo.s32 %r4, %r2, 64, %r3;
setp.ge.s32 %p1, %r4, %r1;
@%p1 bra done;
mul.wide.s32 %rd3, %r4, 4;
add.s64 %rd4, %rd1, %rd3;
add.s64 %rd5, %rd2, %rd3;
ld.global.f32 %f1, [%rd4];
st.global.f32 [%rd5], %f1;
done:
ret;
}
"""

SOURCE = f'''\
from typing import List, Tuple, Union
import numpy as np
import numpy.typing as npt
import tensorrt as trt
import tensorrt.plugin as trtp

PTX = """{PTX}"""

@trtp.register("NS::copy")
def describe(inp0: trtp.TensorDesc, scale: int) -> trtp.TensorDesc:
    return inp0.like()

@trtp.autotune("NS::copy")
def tune(inp0: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32")]

@trtp.aot_impl("NS::copy")
def implement(
    inp0: trtp.TensorDesc, scale: int, outputs: Tuple[trtp.TensorDesc], tactic: int
) -> Tuple[Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs]:
    n = inp0.shape_expr.numel()
    launch = trtp.KernelLaunchParams(grid_x=trtp.cdiv(n, 64), block_x=64)
    extra = trtp.SymIntExprs.from_tuple([trtp.SymInt32(n)])
    return "copy", PTX, launch, extra
'''

_count = itertools.count()


class Definitions:
    """A file of definitions with a plugin id of its own; TensorRT forgets none in the life of a process."""

    def __init__(self, directory: Path, source: str = SOURCE) -> None:
        number = next(_count)
        self.namespace = f"mistake{number}"
        self.id = f"{self.namespace}::copy"
        self.path = directory / f"definitions_{number}.py"
        self.path.write_text(source.replace("NS::", f"{self.namespace}::"), "utf-8")

    @property
    def here(self) -> str:
        """File and line of the mistake, which is marked."""
        lines = self.path.read_text("utf-8").splitlines()
        return f"{self.path}:{1 + next(i for i, line in enumerate(lines) if 'HERE' in line)}"


def changed(*pairs: str) -> str:
    """The definitions with texts replaced: old, new, old, new, ...; every old one must be there."""
    source = SOURCE
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in source
        source = source.replace(old, new)
    return source
