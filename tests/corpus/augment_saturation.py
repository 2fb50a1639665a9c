# SPDX-License-Identifier: Apache-2.0
"""Triton-Augment's saturation: three channels in a program, clamped."""

from typing import Tuple

import numpy as np
from triton_augment.kernels.color_normalize_kernel import saturation_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::augment_saturation")
def augment_saturation_desc(images: TensorDesc, factor: float) -> TensorDesc:
    return images.like()


@trtp.aot_impl("corpus::augment_saturation")
def augment_saturation_aot(images: TensorDesc, factor: float, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    n, c, h, w = images.shape_expr
    return aot_kernel(
        saturation_kernel,
        input_ptr=images,
        output_ptr=outputs[0],
        batch_size=n,
        channels=c,
        height=h,
        width=w,
        saturation_factor=factor,
        BLOCK_SIZE=128,
        grid=trtp.cdiv(n * h * w, 128),
    )


def reference(images, factor):
    x = images.astype(np.float64)
    gray = (x * np.array([0.2989, 0.587, 0.114])[:, None, None]).sum(1, keepdims=True)
    return np.fmax(0, np.fmin(1, x * factor + gray * (1 - factor)))


RECIPE = Recipe(
    name="augment_saturation",
    plugin="corpus::augment_saturation",
    summary="Triton-Augment's saturation: three channels in a program, clamped",
    inputs=(Input(name="images", shape=(2, 3, 9, 11), dims=("N", "three", "H", "W")),),
    dtypes=("fp32",),
    reference=reference,
    attributes={"factor": 1.5},
    dynamic=("N", "H", "W"),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
    ordinary="NaN clamped to 0 and 1 is 0 on a GPU, where it becomes an instruction that saturates",
)
