# SPDX-License-Identifier: Apache-2.0
"""The tensors of the plugin call that an `aot_impl` is asked about."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from aotfactory.core.errors import KernelArgumentError, PluginError
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

    def pointers(
        self, kernel: str, taken: Mapping[str, Any], unused: Sequence[Any], names: Collection[str], helper: str
    ) -> dict[str, Any]:
        """The tensor of each pointer that TensorRT passes, inputs before outputs: one that the kernel takes, or not.

        Args:
            taken: The kernel's own pointers.
            unused: Inputs that it may do without, as it may without aliased outputs.
            names: Names that are not free.

        Raises:
            DefinitionError: A tensor is not of this call, or one of the call is not given to the kernel.
        """
        if foreign := [n for n, tensor in taken.items() if tensor not in self]:
            raise KernelArgumentError(
                f"{kernel}: {', '.join(foreign)} is a tensor that is not of this call",
                hint="give the inputs of the aot_impl and the items of outputs themselves",
            )
        found: dict[str, Any] = {}
        for i, (label, tensor) in enumerate((*self.inputs, *self.outputs)):
            name = next((n for n, own in taken.items() if own is tensor), None)
            aliased = i - len(self.inputs) in self.aliases
            if name is None and not aliased and not any(tensor is item for item in unused):
                hint = "TensorRT passes a pointer for every input and output: give the kernel a parameter for it"
                if i < len(self.inputs):
                    hint += f"; if its shape alone matters: {helper}(..., unused=[{label.removeprefix('input ')}])"
                raise KernelArgumentError(f"{kernel} is not given {label}", hint=hint)
            if name is None:
                name = f"unused_{i}"
                while name in names:
                    name += "_"
            found[name] = tensor
        return found


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
        raise PluginError(f"{function} was called outside an aot_impl", hint="call it in the body of the aot_impl")
    return found
