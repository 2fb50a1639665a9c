# SPDX-License-Identifier: Apache-2.0
"""NAME.plan.json: where a plan comes from. Written with the plan, and checked against it by its SHA-256."""

from __future__ import annotations

import errno
import json
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aotfactory.compiler.bundle import digest
from aotfactory.compiler.manifest import Bundle
from aotfactory.core import documents
from aotfactory.core.check import Check
from aotfactory.core.cuda import driver_version, gpu_name
from aotfactory.core.errors import (
    ArtifactError,
    DamagedRecordError,
    DefinitionError,
    PlanError,
    UnwritableError,
    UsageError,
)
from aotfactory.core.files import file_sha256, read_file, replace_file
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Network
from aotfactory.core.network_json import network_from_json, network_to_json
from aotfactory.plan.builder import Plan
from aotfactory.plan.options import PlanOptions
from aotfactory.plan.tensorrt_network import uses_model

SCHEMA = "aotfactory.plan/1"


def record_path(plan: Path) -> Path:
    """``circ_pad.plan`` has its record in ``circ_pad.plan.json``."""
    return plan.with_name(plan.name + ".json")


def make_record(
    plan: Plan, *, path: Path, bundle: Bundle, bundle_path: Path, options: PlanOptions, tensorrt: str
) -> dict[str, Any]:
    """The record of a plan, as JSON values.

    Args:
        path: Where the plan goes.
        bundle_path: The bundle's directory.
        tensorrt: Version of the TensorRT that built the plan.
    """
    return {
        "schema": SCHEMA,
        "name": bundle.network.name,
        "target": bundle.network.target,
        "plan": {"path": path.name, "sha256": plan.sha256, "bytes": len(plan.data)},
        "bundle": {"path": str(bundle_path.resolve()), "sha256": digest(bundle_path)},
        "versions": {
            "tensorrt": tensorrt,
            "aotfactory": version("aotfactory"),
            "python": platform.python_version(),
            "cuda_driver": driver_version(),
            "bundle": dict(bundle.versions),
        },
        "gpu": {"name": gpu_name(), "arch": str(options.arch or plan.arch), "kernels_for": str(plan.arch)},
        "options": {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(options).items()
            if name not in ("arch", "shapes")
        },
        "model": _model(bundle, options),
        "flags": list(plan.flags),
        "inputs": {name: asdict(profile) for name, profile in plan.inputs.items()},
        "outputs": list(plan.outputs),
        "network": network_to_json(bundle.network),
        "kernels": [
            {
                "id": v.id,
                "call": v.call,
                "tactic": v.tactic,
                "kernel": v.kernel,
                "sha256": v.sha256,
                "in_plan": v in plan.kernels,
            }
            for v in plan.offered
        ],
        "tactics": chosen_tactics(plan),
        "layers": list(plan.layers),
        "messages": list(plan.messages),
        "seconds": plan.seconds,
        "checks": [],
    }


def _model(bundle: Bundle, options: PlanOptions) -> dict[str, str] | None:
    """The ONNX model that the plan was built from, unless one was written for the bundle."""
    if not uses_model(bundle.network, options):
        return None
    path = options.model or Path(bundle.network.target)
    return {"path": str(path), "sha256": file_sha256(path, limit=LIMITS["onnx_bytes"])[0]}


def chosen_tactics(plan: Plan) -> list[dict[str, Any]]:
    """For each layer that the engine inspector tells of: its name, type and what it says of tactics, in its words.

    Layers are mere names where the plan was built without detailed profiling verbosity.
    """
    return [
        {
            "layer": layer.get("Name"),
            "type": layer.get("LayerType"),
            **{key: value for key, value in layer.items() if "tactic" in key.lower()},
        }
        if isinstance(layer, Mapping)
        else {"layer": layer, "type": None}
        for layer in plan.layers
    ]


def write(plan: Plan, record: Mapping[str, Any], path: Path) -> None:
    """Write plan and record. An interruption in between leaves a pair that `problems` reports.

    Raises:
        UsageError: They cannot be written.
    """
    text = _text(record, path)
    _replace(path, plan.data)
    _replace(record_path(path), text)


def require_writable(path: Path) -> None:
    """Make the directory of a plan that is going to be built: a build may take long.

    Raises:
        UsageError: The plan could not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error


def add_checks(path: Path, checks: Iterable[Check]) -> None:
    """Add what was checked of a plan to its record.

    A check replaces an earlier one of the same name and subject, but one that was skipped replaces none: what another
    machine has seen of this plan still holds.

    Raises:
        UsageError: The record cannot be read or written.
        DamagedRecordError: It is not as it was written.
    """
    record = read(path)
    kept = {(check["name"], check["subject"]): check for check in record["checks"]}
    for check in checks:
        if check.status != "skipped" or (check.name, check.subject) not in kept:
            kept[check.name, check.subject] = check.to_json()
    if list(kept.values()) != record["checks"]:
        record["checks"] = list(kept.values())
        _replace(record_path(path), _text(record, path))


def read(path: Path) -> dict[str, Any]:
    """The record of a plan.

    Raises:
        UsageError: There is none.
        DamagedRecordError: It is not as it was written.
    """
    beside = record_path(path)
    try:
        record: dict[str, Any] = documents.parse_json(read_file(beside, limit=LIMITS["record_bytes"]))
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} has no record {beside.name}", hint="aotfactory bake writes one") from error
    except OSError as error:
        raise ArtifactError(f"cannot read {beside}: {error.strerror}", hint="it is the plan's record") from error
    except ValueError as error:
        raise DamagedRecordError(f"damaged record: {error}", where=str(beside), hint=_HINT) from error
    if isinstance(record, dict) and isinstance(found := record.get("schema"), str) and found != SCHEMA:
        raise DamagedRecordError(f"the record's schema is not {SCHEMA}", where=str(beside), hint=_HINT)
    try:
        documents.validate(record, "plan", where=str(beside), hint=_HINT)
        network(record)
    except DefinitionError as error:
        raise DamagedRecordError(error.message, where=error.where or str(beside), hint=_HINT) from error
    return record


_HINT = "bake the plan again"


def verified(path: Path) -> dict[str, Any]:
    """The record of a plan that it agrees with.

    Raises:
        CheckError: Plan, record and bundle disagree.
        UsageError, DefinitionError: See `problems`.
    """
    if found := problems(path):
        raise PlanError("; ".join(found), hint="bake the plan again")
    return read(path)


def network(record: Mapping[str, Any]) -> Network:
    """The network of the bundle that a plan was built from."""
    return network_from_json({"name": record["name"], "target": record["target"], **record["network"]})


def problems(path: Path) -> list[str]:
    """Disagreements between a plan, its record and the bundle that the record names; empty: all does.

    Raises:
        UsageError, DefinitionError: There is no plan, or no record that could be read.
    """
    if not os.path.isfile(path):
        raise ArtifactError(f"no such plan: {path}")
    record = read(path)
    bundle = Path(record["bundle"]["path"])
    found = []
    try:  # no more than the record says is read: a file of any size may lie there
        sha256, size = file_sha256(path, limit=record["plan"]["bytes"])
        if (sha256, size) != (record["plan"]["sha256"], record["plan"]["bytes"]):
            found.append(f"{path.name} is not the plan of this record: its SHA-256 is {sha256}")
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise ArtifactError(f"cannot read {path}: {error.strerror}", hint="it is to be a plan") from error
        found.append(f"{path.name} is not the plan of this record: it {error.strerror}")
    if digest(bundle) not in (None, record["bundle"]["sha256"]):
        found.append(f"{bundle} is no longer the bundle that the plan was built from")
    return found


def _replace(path: Path, data: bytes) -> None:
    try:
        replace_file(path, data)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> UsageError:
    return UnwritableError(
        f"cannot write {path}: {error.strerror}", hint="choose a directory that can be written: bake --out"
    )


def _text(record: Mapping[str, Any], path: Path) -> bytes:
    """The record's JSON. What could not be read again is not written: the error names the place and the limit."""
    hint = "a shorter or plainer name may help; docs/bundle.md lists the limits"
    documents.validate(record, "plan", where=record_path(path).name, hint=hint)
    return json.dumps(record, indent=1).encode() + b"\n"
