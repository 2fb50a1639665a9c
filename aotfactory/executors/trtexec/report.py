# SPDX-License-Identifier: Apache-2.0
"""A run of trtexec as `aotfactory run --format json` prints it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from aotfactory.core import dtypes
from aotfactory.core.errors import UnwritableError
from aotfactory.executors.trtexec.command import TrtexecResult

SCHEMA = "aotfactory.trtexec/1"


def trtexec_report(result: TrtexecResult, output_dir: Path | None) -> dict[str, Any]:
    """A run as JSON values, schema `SCHEMA`; its outputs are written to `output_dir`, if there is one.

    Raises:
        UsageError: They cannot be written.
    """
    outputs = []
    for name, array in result.outputs.items():
        tensor = {"name": name, "dtype": dtypes.of_array(array.dtype).name, "shape": list(array.shape)}
        if output_dir is not None:
            # Tensors of ONNX models have names like a/b:0.
            file = output_dir / f"{quote(name, safe='')}.npy"
            try:
                output_dir.mkdir(parents=True, exist_ok=True)
                np.save(file, array)
            except OSError as error:
                raise UnwritableError(
                    f"cannot write {file}: {error.strerror}", hint="choose another --output-dir"
                ) from error
            tensor["file"] = str(file)
        outputs.append(tensor)
    return {
        "schema": SCHEMA,
        "status": "passed",
        "version": ".".join(map(str, result.verdict.version)),
        "command": list(result.command),
        "log": str(result.log),
        "outputs": outputs,
        "performance": asdict(result.performance) if result.performance else None,
    }
