# SPDX-License-Identifier: Apache-2.0
"""FlagGems' dropout: Philox from a seed, `.to(tl.int64)` on scalars, a boolean output, heuristics."""

from typing import Tuple

import numpy as np
from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

dropout = gems("ops.dropout")


@trtp.register("corpus::gems_dropout")
def gems_dropout_desc(x: TensorDesc, p: float, seed: int) -> Tuple[TensorDesc, TensorDesc]:
    return x.like(), trtp.from_shape_expr(x.shape_expr, dtype=trt.bool)


@trtp.aot_impl("corpus::gems_dropout")
def gems_dropout_aot(
    x: TensorDesc, p: float, seed: int, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    n = x.shape_expr.numel()
    return aot_kernel(
        dropout.dropout_forward_kernel,
        X=x,
        Y=outputs[0],
        dropout_mask=outputs[1],
        N=n,
        p=p,
        philox_seed=seed,
        philox_offset=0,
        grid=lambda meta: (trtp.cdiv(n, meta["BLOCK"] * 4),),
    )


def reference(x, p, seed):
    block = 512 if x.size <= 512 else 1024
    counter = np.arange(-(-x.size // (4 * block)) * block, dtype=np.uint32)
    bits = [counter, np.zeros_like(counter), np.zeros_like(counter), np.zeros_like(counter)]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        products = [np.uint64(m) * bits[i].astype(np.uint64) for m, i in ((0xD2511F53, 0), (0xCD9E8D57, 2))]
        (a, b), (c, d) = (((w >> np.uint64(32)).astype(np.uint32), w.astype(np.uint32)) for w in products)
        bits = [c ^ bits[1] ^ np.uint32(key[0]), d, a ^ bits[3] ^ np.uint32(key[1]), b]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    lanes = np.stack(bits).reshape(4, -1, block).swapaxes(0, 1).reshape(-1)[: x.size].view(np.int32)
    uniform = np.where(lanes < 0, -lanes - 1, lanes).astype(np.float32) * np.float32(4.6566127342e-10)
    keep = (uniform > np.float32(p)).reshape(x.shape)
    return x.astype(np.float64) / (1 - p) * keep, keep


RECIPE = Recipe(
    name="gems_dropout",
    plugin="corpus::gems_dropout",
    summary="FlagGems' dropout: Philox from a seed, `.to(tl.int64)` on scalars, a boolean output, heuristics",
    inputs=(Input(name="x", shape=(6, 300), dims=("M", "N")),),
    dtypes=("fp32",),
    reference=reference,
    attributes={"p": 0.3, "seed": 1234},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
