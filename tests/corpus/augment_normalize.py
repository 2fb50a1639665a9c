# SPDX-License-Identifier: Apache-2.0
"""Triton-Augment's normalization by channel: division and modulo of an index."""

from typing import Tuple

import numpy as np
from triton_augment.kernels.color_normalize_kernel import normalize_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::augment_normalize")
def augment_normalize_desc(images: TensorDesc, mean: TensorDesc, std: TensorDesc) -> TensorDesc:
    return images.like()


@trtp.aot_impl("corpus::augment_normalize")
def augment_normalize_aot(
    images: TensorDesc, mean: TensorDesc, std: TensorDesc, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    n, c, h, w = images.shape_expr
    return aot_kernel(
        normalize_kernel,
        input_ptr=images,
        output_ptr=outputs[0],
        n_elements=n * c * h * w,
        spatial_size=h * w,
        n_channels=c,
        mean_ptr=mean,
        std_ptr=std,
        BLOCK_SIZE=256,
        grid=trtp.cdiv(n * c * h * w, 256),
    )


RECIPE = Recipe(
    name="augment_normalize",
    plugin="corpus::augment_normalize",
    summary="Triton-Augment's normalization by channel: division and modulo of an index",
    inputs=(
        Input(name="images", shape=(2, 3, 9, 11), dims=("N", "C", "H", "W")),
        Input(name="mean", shape=(3,), dims=("C",)),
        Input(name="std", shape=(3,), dims=("C",)),
    ),
    dtypes=("fp32",),
    reference=lambda images, mean, std: (images.astype(np.float64) - mean[:, None, None]) / std[:, None, None],
    dynamic=("N", "H", "W"),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
