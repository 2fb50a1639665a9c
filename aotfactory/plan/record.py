# SPDX-License-Identifier: Apache-2.0
"""NAME.plan.json: where a plan comes from. Written with the plan, and checked against it by its SHA-256."""

from __future__ import annotations

import hashlib
import json
import platform
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aotfactory.compiler.bundle import MANIFEST, Bundle
from aotfactory.core.check import Check
from aotfactory.core.cuda import driver_version, gpu_name
from aotfactory.core.errors import CheckError, DefinitionError, UsageError
from aotfactory.core.files import replace_file
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
    manifest = (bundle_path / MANIFEST).read_bytes()
    return {
        "schema": SCHEMA,
        "name": bundle.network.name,
        "target": bundle.network.target,
        "plan": {"path": path.name, "sha256": plan.sha256, "bytes": len(plan.data)},
        "bundle": {"path": str(bundle_path.resolve()), "sha256": hashlib.sha256(manifest).hexdigest()},
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
    return {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


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
    _replace(path, plan.data)
    _replace(record_path(path), _text(record))


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
        DefinitionError: It is damaged.
    """
    record = read(path)
    with reporting_damage(path):
        kept = {(check["name"], check["subject"]): check for check in record["checks"]}
    for check in checks:
        if check.status != "skipped" or (check.name, check.subject) not in kept:
            kept[check.name, check.subject] = asdict(check)
    if list(kept.values()) != record["checks"]:
        record["checks"] = list(kept.values())
        _replace(record_path(path), _text(record))


def read(path: Path) -> dict[str, Any]:
    """The record of a plan.

    Raises:
        UsageError: There is none.
        DefinitionError: It is damaged.
    """
    beside = record_path(path)
    try:
        record = json.loads(beside.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"{path} has no record {beside.name}", hint="aotfactory bake writes one") from error
    except OSError as error:
        raise UsageError(f"cannot read {beside}: {error.strerror}", hint="it is the plan's record") from error
    except ValueError as error:
        raise DefinitionError(f"damaged record: {error}", where=str(beside), hint="bake the plan again") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise DefinitionError(f"the record's schema is not {SCHEMA}", where=str(beside), hint="bake the plan again")
    return record


@contextmanager
def reporting_damage(path: Path) -> Iterator[None]:
    """Use the record of this plan; report missing or unexpected fields as damage.

    Raises:
        DefinitionError: It is damaged.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        problem = f"damaged record: {type(error).__name__}: {error}"
        raise DefinitionError(problem, where=str(record_path(path)), hint="bake the plan again") from error


def verified(path: Path) -> dict[str, Any]:
    """The record of a plan that it agrees with.

    Raises:
        CheckError: Plan, record and bundle disagree.
        UsageError, DefinitionError: See `problems`.
    """
    if found := problems(path):
        raise CheckError("; ".join(found), hint="bake the plan again")
    return read(path)


def network(record: Mapping[str, Any]) -> Network:
    """The network of the bundle that a plan was built from."""
    return network_from_json({"name": record["name"], "target": record["target"], **record["network"]})


def problems(path: Path) -> list[str]:
    """Disagreements between a plan, its record and the bundle that the record names; empty: all does.

    Raises:
        UsageError, DefinitionError: There is no plan, or no record that could be read.
    """
    if not path.is_file():
        raise UsageError(f"no such plan: {path}")
    record = read(path)
    with reporting_damage(path):
        plan, bundle = record["plan"]["sha256"], record["bundle"]["sha256"]
        manifest = Path(record["bundle"]["path"]) / MANIFEST
    found = []
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != plan:
        found.append(f"{path.name} is not the plan of this record: its SHA-256 is {digest}")
    if manifest.is_file() and hashlib.sha256(manifest.read_bytes()).hexdigest() != bundle:
        found.append(f"{manifest.parent} is no longer the bundle that the plan was built from")
    return found


def _replace(path: Path, data: bytes) -> None:
    try:
        replace_file(path, data)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot write {path}: {error.strerror}", hint="choose a directory that can be written: bake --out"
    )


def _text(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=1).encode() + b"\n"
