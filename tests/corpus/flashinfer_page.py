# SPDX-License-Identifier: Apache-2.0
"""FlashInfer's batch indices and positions: a parameter named num_stages, offsets that must rise."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

page = source("flashinfer.triton.page")


@trtp.register("corpus::flashinfer_page")
def flashinfer_page_desc(indptr: TensorDesc, seq_lens: TensorDesc, nnz: int) -> Tuple[TensorDesc, TensorDesc]:
    b = seq_lens.shape_expr[0]
    out = trtp.from_shape_expr((b // b * nnz,), dtype=trt.int32)
    return out, out.like()


@trtp.aot_impl("corpus::flashinfer_page")
def flashinfer_page_aot(
    indptr: TensorDesc, seq_lens: TensorDesc, nnz: int, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    return aot_kernel(
        page.get_batch_indices_positions_kernel,
        append_indptr=indptr,
        seq_lens_ptr=seq_lens,
        batch_indices_ptr=outputs[0],
        positions_ptr=outputs[1],
        num_stages=1,
        grid=seq_lens.shape_expr[0],
    )


def reference(indptr, seq_lens, nnz):
    counts = np.diff(indptr)
    batch = np.repeat(np.arange(len(counts)), counts)
    return batch.astype(np.int32), (np.arange(nnz) + (seq_lens - indptr[1:])[batch]).astype(np.int32)


RECIPE = Recipe(
    name="flashinfer_page",
    plugin="corpus::flashinfer_page",
    summary="FlashInfer's batch indices and positions: a parameter named num_stages, offsets that must rise",
    inputs=(
        Input(
            name="indptr",
            shape=(5,),
            dims=("B1",),
            dtypes=("int32",),
            data=lambda rng, shape, inputs, dtype: np.r_[0, np.sort(rng.integers(0, 41, shape[0] - 2)), 40],
        ),
        Input(
            name="seq_lens",
            shape=(4,),
            dims=("B",),
            dtypes=("int32",),
            data=lambda rng, shape, inputs, dtype: np.diff(inputs["indptr"]) + rng.integers(0, 50, shape),
        ),
    ),
    dtypes=("int32",),
    reference=reference,
    attributes={"nnz": 40},
)
