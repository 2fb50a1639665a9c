# SPDX-License-Identifier: Apache-2.0
"""Triton-Augment's crop, its place read from tensors: offsets that index."""

from typing import Tuple

import numpy as np
from triton_augment.kernels.geometric_kernel import crop_kernel

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::augment_crop")
def augment_crop_desc(images: TensorDesc, top: TensorDesc, left: TensorDesc, height: int, width: int) -> TensorDesc:
    n, c, h, w = images.shape_expr
    return trtp.from_shape_expr((n, c, h // h * height, w // w * width), dtype=images.dtype)


@trtp.aot_impl("corpus::augment_crop")
def augment_crop_aot(
    images: TensorDesc,
    top: TensorDesc,
    left: TensorDesc,
    height: int,
    width: int,
    outputs: Tuple[TensorDesc],
    tactic: int,
) -> AotKernel:
    n, c, h, w = images.shape_expr
    return aot_kernel(
        crop_kernel,
        input_ptr=images,
        output_ptr=outputs[0],
        batch_size=n,
        channels=c,
        input_height=h,
        input_width=w,
        output_height=height,
        output_width=width,
        top_offsets_ptr=top,
        left_offsets_ptr=left,
        apply_per_image=True,
        BLOCK_SIZE=256,
        grid=trtp.cdiv(n * c * height * width, 256),
    )


def reference(images, top, left, height, width):
    return np.stack([x[:, t : t + height, u : u + width] for x, t, u in zip(images, top, left, strict=True)])


RECIPE = Recipe(
    name="augment_crop",
    plugin="corpus::augment_crop",
    summary="Triton-Augment's crop, its place read from tensors: offsets that index",
    inputs=(
        Input(name="images", shape=(2, 3, 16, 20), dims=("N", "C", "H", "W")),
        Input(
            name="top",
            shape=(2,),
            dims=("N",),
            dtypes=("int32",),
            data=lambda rng, shape, inputs, dtype: rng.integers(0, inputs["images"].shape[2] - 8, shape),
        ),
        Input(
            name="left",
            shape=(2,),
            dims=("N",),
            dtypes=("int32",),
            data=lambda rng, shape, inputs, dtype: rng.integers(0, inputs["images"].shape[3] - 10, shape),
        ),
    ),
    dtypes=("fp32", "fp16"),
    reference=reference,
    attributes={"height": 9, "width": 11},
    dynamic=("N",),
)
