# SPDX-License-Identifier: Apache-2.0
"""Triton-Augment's horizontal flip where a mask says so."""

from typing import Tuple

import numpy as np
from triton_augment.kernels.geometric_kernel import horizontal_flip_kernel

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::augment_flip")
def augment_flip_desc(images: TensorDesc, flips: TensorDesc) -> TensorDesc:
    return images.like()


@trtp.aot_impl("corpus::augment_flip")
def augment_flip_aot(images: TensorDesc, flips: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    n, c, h, w = images.shape_expr
    return aot_kernel(
        horizontal_flip_kernel,
        input_ptr=images,
        output_ptr=outputs[0],
        batch_size=n,
        channels=c,
        height=h,
        width=w,
        flip_mask_ptr=flips,
        apply_per_image=True,
        BLOCK_SIZE=256,
        grid=trtp.cdiv(n * c * h * w, 256),
    )


RECIPE = Recipe(
    name="augment_flip",
    plugin="corpus::augment_flip",
    summary="Triton-Augment's horizontal flip where a mask says so",
    inputs=(
        Input(name="images", shape=(3, 3, 8, 10), dims=("N", "C", "H", "W")),
        Input(name="flips", shape=(3,), dims=("N",), dtypes=("uint8",), choices=(0, 1)),
    ),
    dtypes=("fp32", "fp16"),
    reference=lambda images, flips: np.where((flips != 0)[:, None, None, None], images[..., ::-1], images),
    dynamic=("N", "H", "W"),
)
