# SPDX-License-Identifier: Apache-2.0
"""Accelerated-scan's gated recurrence: `tl.associative_scan` of pairs, `num_programs`."""

from typing import Tuple

import numpy as np
from accelerated_scan.scalar import forward_scan

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::accelerated_scan_forward")
def accelerated_scan_forward_desc(forget: TensorDesc, x: TensorDesc) -> TensorDesc:
    return x.like()


@trtp.aot_impl("corpus::accelerated_scan_forward")
def accelerated_scan_forward_aot(
    forget: TensorDesc, x: TensorDesc, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    batch, channels, length = x.shape_expr
    return aot_kernel(
        forward_scan, forget=forget, inputs=x, states=outputs[0], seqlen=length, BLOCK=64, grid=(batch, channels)
    )


def reference(forget, x):
    states, last = np.empty(x.shape), 0
    for t in range(x.shape[-1]):
        last = states[..., t] = forget[..., t].astype(np.float64) * last + x[..., t]
    return states


RECIPE = Recipe(
    name="accelerated_scan_forward",
    plugin="corpus::accelerated_scan_forward",
    summary="Accelerated-scan's gated recurrence: `tl.associative_scan` of pairs, `num_programs`",
    inputs=(
        Input(name="forget", shape=(2, 3, 90), dims=("B", "C", "L")),
        Input(name="x", shape=(2, 3, 90), dims=("B", "C", "L")),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("B", "L"),
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-4)},
    ordinary="the scan multiplies infinities by zeros",
)
