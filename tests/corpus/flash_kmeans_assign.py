# SPDX-License-Identifier: Apache-2.0
"""Flash-kmeans' nearest centroid: `tl.dot` and argmin, squared norms as further inputs."""

from typing import Tuple

import numpy as np
import triton
from flash_kmeans.assign_euclid_triton import _euclid_assign_kernel

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::flash_kmeans_assign")
def flash_kmeans_assign_desc(x: TensorDesc, centroids: TensorDesc, x_sq: TensorDesc, c_sq: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr((x.shape_expr[0], x.shape_expr[1]), dtype=trt.int32)


@trtp.aot_impl("corpus::flash_kmeans_assign")
def flash_kmeans_assign_aot(
    x: TensorDesc, centroids: TensorDesc, x_sq: TensorDesc, c_sq: TensorDesc, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    b, n, d = x.shape_expr
    k = centroids.shape_expr[1]
    return aot_kernel(
        _euclid_assign_kernel,
        x_ptr=x,
        c_ptr=centroids,
        x_sq_ptr=x_sq,
        c_sq_ptr=c_sq,
        out_ptr=outputs[0],
        B=b,
        N=n,
        K=k,
        D=d,
        stride_x_b=n * d,
        stride_x_n=d,
        stride_x_d=1,
        stride_c_b=k * d,
        stride_c_k=d,
        stride_c_d=1,
        stride_xsq_b=n,
        stride_xsq_n=1,
        stride_csq_b=k,
        stride_csq_k=1,
        stride_out_b=n,
        stride_out_n=1,
        BLOCK_N=32,
        BLOCK_K=16,
        D_PAD=triton.next_power_of_2(d),
        grid=(trtp.cdiv(n, 32), b),
    )


def reference(x, centroids, x_sq, c_sq):
    dist = x_sq[..., None].astype(np.float64) + c_sq[:, None] - 2 * x.astype(np.float64) @ centroids.swapaxes(1, 2)
    return np.maximum(dist, 0).argmin(-1).astype(np.int32)


RECIPE = Recipe(
    name="flash_kmeans_assign",
    plugin="corpus::flash_kmeans_assign",
    summary="Flash-kmeans' nearest centroid: `tl.dot` and argmin, squared norms as further inputs",
    inputs=(
        Input(name="x", shape=(2, 50, 16), dims=("B", "N", "D")),
        Input(name="centroids", shape=(2, 20, 16), dims=("B", "K", "D")),
        Input(
            name="x_sq",
            shape=(2, 50),
            dims=("B", "N"),
            data=lambda rng, shape, inputs, dtype: (inputs["x"] ** 2).sum(-1),
        ),
        Input(
            name="c_sq",
            shape=(2, 20),
            dims=("B", "K"),
            data=lambda rng, shape, inputs, dtype: (inputs["centroids"] ** 2).sum(-1),
        ),
    ),
    dtypes=("fp32",),
    reference=reference,
    ordinary="the nearest of points at infinity is not defined",
)
