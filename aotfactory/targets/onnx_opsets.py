# SPDX-License-Identifier: Apache-2.0
"""Nodes of older operator sets in the form of a newer one, for inference only: the model stays as it is.

From set 14 on, inference carries extents through Shape, Gather, Concat and the like into Reshape. Between 11 and 14
the operators below got their attributes as inputs; what else changed has no bearing on shapes and types.
Source: ONNX' own list of operator changes (Changelog.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto

OLDEST, TARGET = 11, 14
TO_INPUTS = {"Squeeze": "axes", "Unsqueeze": "axes", "ReduceSum": "axes", "Split": "split"}
"""Operators whose attribute became their second input in set 13."""


def modernized(
    nodes: Sequence[onnx.NodeProto], opsets: Sequence[onnx.OperatorSetIdProto]
) -> tuple[list[onnx.NodeProto], list[onnx.OperatorSetIdProto]]:
    """These nodes, and the operator sets that they are then of."""
    own = next((o.version for o in opsets if o.domain in ("", "ai.onnx")), TARGET)
    if not OLDEST <= own < TARGET:
        return list(nodes), list(opsets)
    found: list[onnx.NodeProto] = []
    for node in nodes:
        moved = next((a for a in node.attribute if a.name == TO_INPUTS.get(node.op_type)), None)
        if moved is None or node.domain not in ("", "ai.onnx"):
            found.append(node)
            continue
        axes = f"{node.output[0]}.{moved.name}"
        tensor = onnx.helper.make_tensor(axes, TensorProto.INT64, [len(moved.ints)], moved.ints)
        newer = onnx.NodeProto()
        newer.CopyFrom(node)
        newer.attribute.remove(moved)
        newer.input.append(axes)
        found += [onnx.helper.make_node("Constant", [], [axes], value=tensor), newer]
    others = [o for o in opsets if o.domain not in ("", "ai.onnx")]
    return found, [onnx.helper.make_opsetid("", TARGET), *others]
