# SPDX-License-Identifier: Apache-2.0
"""Conch's IoU mask of NMS: autotuned, a boolean output of which only the upper triangle is written."""

from typing import Tuple

import numpy as np
from conch.kernels.vision.nms import _create_iou_mask_kernel

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::conch_iou_mask")
def conch_iou_mask_desc(boxes: TensorDesc, threshold: float) -> TensorDesc:
    n = boxes.shape_expr[0]
    return trtp.from_shape_expr((n, n), dtype=trt.bool)


@trtp.aot_impl("corpus::conch_iou_mask")
def conch_iou_mask_aot(boxes: TensorDesc, threshold: float, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    n = boxes.shape_expr[0]
    return aot_kernel(
        _create_iou_mask_kernel,
        boxes_ptr=boxes,
        iou_mask_ptr=outputs[0],
        num_boxes=n,
        iou_threshold=threshold,
        boxes_stride=4,
        iou_mask_stride=n,
        grid=n,
    )


def reference(boxes, threshold):
    x1, y1, x2, y2 = boxes.T.astype(np.float64)
    area = (x2 - x1) * (y2 - y1)
    w = np.maximum(0, np.minimum.outer(x2, x2) - np.maximum.outer(x1, x1))
    h = np.maximum(0, np.minimum.outer(y2, y2) - np.maximum.outer(y1, y1))
    union = area[:, None] + area - w * h
    return np.triu(np.where(union > 0, w * h / np.where(union > 0, union, 1), 0) > threshold)


RECIPE = Recipe(
    name="conch_iou_mask",
    plugin="corpus::conch_iou_mask",
    summary="Conch's IoU mask of NMS: autotuned, a boolean output of which only the upper triangle is written",
    inputs=(Input(name="boxes", shape=(20, 4), dims=("N", "four")),),
    dtypes=("fp32",),
    reference=reference,
    attributes={"threshold": 0.5},
    dynamic=("N",),
)
