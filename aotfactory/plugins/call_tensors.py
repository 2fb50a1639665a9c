# SPDX-License-Identifier: Apache-2.0
"""The tensors of the plugin call that an `aot_impl` is asked about."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import FrameType
from typing import Any

from aotfactory.core.errors import DefinitionError
from aotfactory.plugins import tensorrt_api

tensorrt_api.load()
import tensorrt.plugin as trtp  # noqa: E402


@dataclass(frozen=True)
class CallTensors:
    """Inputs and outputs of a call, each with the label that messages give it.

    Attributes:
        aliases: Index of an output that shares an input's buffer, and of that input.
    """

    inputs: list[tuple[str, Any]]
    outputs: list[tuple[str, Any]]
    aliases: dict[int, int]

    def __contains__(self, tensor: Any) -> bool:
        return any(tensor is own for _, own in (*self.inputs, *self.outputs))


def tensors_of_call(function: str) -> CallTensors:
    """Find the call's tensors in the frame of the `aot_impl` that is running.

    A `TensorDesc` does not say which tensor of the call it is; but TensorRT enforces the parameters of an
    `aot_impl`: the inputs come first, `outputs` and `tactic` last. Which outputs are aliased only the plugin object
    knows, NVIDIA's own, which called the `aot_impl`.

    Args:
        function: Who asks; for the message.

    Raises:
        DefinitionError: No `aot_impl` is running.
    """
    frame: FrameType | None = sys._getframe(1)
    found: CallTensors | None = None
    while frame:
        code, local = frame.f_code, frame.f_locals
        names = code.co_varnames[: code.co_argcount]
        if found is None and names[-2:] == ("outputs", "tactic"):
            inputs = [(f"input {n}", local[n]) for n in names if isinstance(local[n], trtp.TensorDesc)]
            found = CallTensors(inputs, [(f"outputs[{i}]", t) for i, t in enumerate(local["outputs"])], {})
        elif found is not None and hasattr(local.get("self"), "aliased_map"):
            aliased = {output: source for output, source in local["self"].aliased_map.items() if source >= 0}
            return CallTensors(found.inputs, found.outputs, aliased)
        frame = frame.f_back
    if found is None:
        raise DefinitionError(f"{function} was called outside an aot_impl", hint="call it in the body of the aot_impl")
    return found
