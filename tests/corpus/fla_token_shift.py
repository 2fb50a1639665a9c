# SPDX-License-Identifier: Apache-2.0
"""flash-linear-attention's token shift: differences of neighbours, early returns."""

from typing import Tuple

import numpy as np
import triton
from corpus_tools import fla

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

shift = fla("modules.token_shift")


@trtp.register("corpus::fla_token_shift")
def fla_token_shift_desc(x: TensorDesc) -> TensorDesc:
    return x.like()


@trtp.aot_impl("corpus::fla_token_shift")
def fla_token_shift_aot(x: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    b, t, d = x.shape_expr
    return aot_kernel(
        shift.token_shift_fwd_kernel_short,
        x=x,
        y=outputs[0],
        cu_seqlens=None,
        cache=None,
        cache_out=None,
        T=t,
        D=d,
        BD=triton.next_power_of_2(d),
        STORE_FINAL_STATE=False,
        IS_DECODE=False,
        grid=(b, t),
    )


RECIPE = Recipe(
    name="fla_token_shift",
    plugin="corpus::fla_token_shift",
    summary="flash-linear-attention's token shift: differences of neighbours, early returns",
    inputs=(Input(name="x", shape=(2, 9, 50), dims=("B", "T", "D")),),
    dtypes=("fp32",),
    reference=lambda x: np.concatenate([-x[:, :1], x[:, :-1] - x[:, 1:]], 1),
    dynamic=("B", "T"),
)
