# SPDX-License-Identifier: Apache-2.0
"""xFormers' scaled addition to rows by index: in place, a grid of three dimensions, unique indices."""

from typing import Tuple

import numpy as np
from xformers.ops._triton.k_scaled_index_add import scaled_index_add_fwd_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::xformers_scaled_index_add")
def xformers_scaled_index_add_desc(
    x: TensorDesc, ids: TensorDesc, addend: TensorDesc, scaling: TensorDesc, alpha: float
) -> TensorDesc:
    return x.aliased()


@trtp.aot_impl("corpus::xformers_scaled_index_add")
def xformers_scaled_index_add_aot(
    x: TensorDesc,
    ids: TensorDesc,
    addend: TensorDesc,
    scaling: TensorDesc,
    alpha: float,
    outputs: Tuple[TensorDesc],
    tactic: int,
) -> AotKernel:
    count, rows, cols = addend.shape_expr
    return aot_kernel(
        scaled_index_add_fwd_kernel,
        input_ptr=x,
        index_ptr=ids,
        source_ptr=addend,
        scaling_ptr=scaling,
        alpha=alpha,
        num_inp_indices=x.shape_expr[0],
        num_src_indices=count,
        num_rows=rows,
        num_cols=cols,
        stride0=rows * cols,
        stride1=cols,
        stride2=1,
        BLOCK_SIZE_INDEX=1,
        BLOCK_SIZE_ROW=16,
        BLOCK_SIZE_COL=64,
        HAS_SCALING=True,
        grid=(count, trtp.cdiv(rows, 16), trtp.cdiv(cols, 64)),
    )


def reference(x, ids, addend, scaling, alpha):
    y = x.astype(np.float64)
    y[ids] += alpha * scaling.astype(np.float64) * addend
    return y


RECIPE = Recipe(
    name="xformers_scaled_index_add",
    plugin="corpus::xformers_scaled_index_add",
    summary="xFormers' scaled addition to rows by index: in place, a grid of three dimensions, unique indices",
    inputs=(
        Input(name="x", shape=(8, 20, 70), dims=("B", "M", "D")),
        Input(
            name="ids",
            shape=(3,),
            dims=("S",),
            dtypes=("int64", "int32"),
            data=lambda rng, shape, inputs, dtype: rng.permutation(inputs["x"].shape[0])[: shape[0]],
        ),
        Input(name="addend", shape=(3, 20, 70), dims=("S", "M", "D")),
        Input(name="scaling", shape=(70,), dims=("D",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"alpha": 0.5},
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
    dynamic=("M",),
)
