# SPDX-License-Identifier: Apache-2.0
"""A bundle on the tensors that its plugin nodes get in the whole model, which is computed on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from aotfactory.api.executors import choose
from aotfactory.api.outcome import catalog_for
from aotfactory.api.validate import run_executors
from aotfactory.compiler import bundle
from aotfactory.compiler.manifest import Bundle
from aotfactory.core import dtypes
from aotfactory.core.check import Check
from aotfactory.core.errors import OnnxFileError, OnnxShapeError
from aotfactory.executors import onnx_reference
from aotfactory.executors.effort import DEFAULT_EFFORT, Effort
from aotfactory.executors.executor import BundleJob
from aotfactory.executors.inputs import Array, make_input
from aotfactory.plan import onnx_export
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.onnx_model import model_inputs
from aotfactory.targets.onnx_shapes import ELEMENTS
from aotfactory.targets.request import TargetOptions


def validate_model(
    path: Path,
    model: Path,
    *,
    plugins: Iterable[str] = (),
    executors: Sequence[str] = (),
    shapes: TargetOptions | None = None,
    save_inputs: Path | None = None,
    save_outputs: Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
    effort: Effort = DEFAULT_EFFORT,
) -> list[Check]:
    """Validate every variant of a bundle on what its node gets in the model.

    Args:
        path: The bundle's directory.
        model: The ONNX file that it was compiled from.
        shapes: Of the model's inputs that no plugin reads and the file leaves open.
        save_inputs: A directory for the model's inputs as .npy files.
        save_outputs: The same for its outputs.

    Raises:
        UsageError: The model is not the bundle's, or an input's shape is open.
        CheckError: The model cannot be computed on the CPU.
    """
    executors = choose(executors, "bundle")
    made = bundle.read(path)
    catalog = catalog_for(made.network, plugins)
    progress("the model on the CPU")
    inputs, tensors, outputs = _compute(made, model, catalog, shapes or TargetOptions())
    for folder, names, arrays in ((save_inputs, inputs, inputs), (save_outputs, outputs, tensors)):
        if folder is not None:
            _save(folder, {name: arrays[name] for name in names})
    given = {}
    for tensor in made.network.inputs:
        if tensor.name not in tensors:
            raise OnnxShapeError(f"{model} does not compute {tensor.name!r}", hint="is it the bundle's model?")
        given[tensor.name] = np.ascontiguousarray(tensors[tensor.name], dtypes.find(tensor.dtype).array)
    job = BundleJob(path=path, bundle=made, catalog=catalog, effort=effort, progress=progress, given=given)
    return run_executors(executors, job)


def _compute(
    made: Bundle, path: Path, catalog: Catalog, shapes: TargetOptions
) -> tuple[dict[str, Array], dict[str, Array], list[str]]:
    """Random inputs at the profile's opt shapes, every tensor of the model, and the names of its outputs."""
    model, profiles = onnx_export.mark(path, made.network, shapes, aot=True)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:
        raise OnnxFileError(
            f"{path}: the external data cannot be read: {error}", hint="keep it beside the model"
        ) from error
    inputs = {}
    for value in model_inputs(model):
        element = value.type.tensor_type.elem_type
        if element not in ELEMENTS:
            raise OnnxShapeError(f"input {value.name!r} has a type that is not made here", hint="leave --model out")
        inputs[value.name] = make_input(value.name, ELEMENTS[element], profiles[value.name].opt)
    tensors = {**inputs, **onnx_reference.run(model, catalog.for_plugin, inputs)}
    return inputs, tensors, [value.name for value in model.graph.output]


def _save(folder: Path, arrays: Mapping[str, Array]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name.replace('/', '_')}.npy", array)
