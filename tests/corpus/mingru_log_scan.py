# SPDX-License-Identifier: Apache-2.0
"""minGRU's scan in log space: an online logsumexp over time."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

kernels = source("mingru.triton_scans")


@trtp.register("corpus::mingru_log_scan")
def mingru_log_scan_desc(lc: TensorDesc, lv: TensorDesc) -> TensorDesc:
    return lc.like()


@trtp.aot_impl("corpus::mingru_log_scan")
def mingru_log_scan_aot(lc: TensorDesc, lv: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    b, t, d = lc.shape_expr
    return aot_kernel(
        kernels._parallel_scan_log_fwd_kernel,
        lc_ptr=lc,
        lv_ptr=lv,
        h_ptr=outputs[0],
        T=t,
        D=d,
        BLOCK_D=64,
        grid=(b, trtp.cdiv(d, 64)),
    )


def reference(lc, lv):
    a = np.concatenate([np.zeros_like(lc[:, :1]), lc], 1).astype(np.float64).cumsum(1)
    h = a + np.logaddexp.accumulate(lv.astype(np.float64) - a, 1)
    return np.exp(h)[:, 1:]


RECIPE = Recipe(
    name="mingru_log_scan",
    plugin="corpus::mingru_log_scan",
    summary="minGRU's scan in log space: an online logsumexp over time",
    inputs=(
        Input(name="lc", shape=(2, 9, 100), dims=("B", "T", "D")),
        Input(name="lv", shape=(2, 10, 100), dims=("B", "T1", "D")),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("B", "D"),
    ordinary="an infinite log value makes NaN in one form and not in the other",
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-5)},
)
