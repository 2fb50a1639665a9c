# SPDX-License-Identifier: Apache-2.0
"""The bundle on disk: ``NAME.aot/`` with ``manifest.json`` and one PTX file for every variant.

PTX files are named by their content and never overwritten; the manifest is replaced in one step after them, and what
it no longer names is removed last. So whatever interrupts a build, the manifest names a complete set of files.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aotfactory.compiler.variant import Kernel as Kernel
from aotfactory.compiler.variant import LaunchedKernel as LaunchedKernel
from aotfactory.compiler.variant import Variant as Variant
from aotfactory.compiler.variant import Workspace as Workspace
from aotfactory.core import arguments, documents, expressions
from aotfactory.core.arch import Road
from aotfactory.core.arguments import KINDS, Quotient
from aotfactory.core.errors import (
    ArtifactError,
    DamagedBundleError,
    DefinitionError,
    DocumentError,
    ExistsError,
    LimitError,
    UnwritableError,
)
from aotfactory.core.files import read_file, replace_file
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Network
from aotfactory.core.network_json import network_from_json, network_to_json, require_known_symbols

SCHEMA = "aotfactory.bundle/1"


MANIFEST = "manifest.json"


OWN_FILE = re.compile(
    r"manifest\.json|[\w.-]+\.t\d+\.[0-9a-f]{8}\.ptx|\.(manifest\.json|[\w.-]+\.ptx)\.\w+\.tmp", re.ASCII
)
"""The only files that are written to a bundle, and the only ones that are ever removed from one."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """All compiled kernels of one engine, with the network they belong to and the versions that made them.

    Attributes:
        skipped: Names of checks that did not count when it was built, each with the reason that was given.
        road: What its kernels are for.
    """

    network: Network
    variants: tuple[Variant, ...]
    versions: Mapping[str, str]
    skipped: Mapping[str, str] = field(default_factory=dict)
    road: Road = "aot"


def manifest(bundle: Bundle) -> dict[str, Any]:
    """The bundle's manifest as JSON values."""
    network = bundle.network
    return {
        "schema": SCHEMA,
        "name": network.name,
        "target": network.target,
        "versions": dict(bundle.versions),
        **({"skipped_checks": dict(bundle.skipped)} if bundle.skipped else {}),
        **({"road": bundle.road} if bundle.road != "aot" else {}),
        **network_to_json(network),
        "variants": [
            {
                "id": v.id,
                "call": v.call,
                "plugin": v.plugin,
                "arch": v.arch,
                "dtypes": list(v.dtypes),
                "formats": list(v.formats),
                "tactic": v.tactic,
                **_kernel_to_json(v, v.ptx),
                **({"workspaces": [_workspace_to_json(w) for w in v.workspaces]} if v.workspaces else {}),
                **({"then": [_kernel_to_json(k, v.file_of(k)) for k in v.then]} if v.then else {}),
            }
            for v in bundle.variants
        ],
    }


def _kernel_to_json(kernel: LaunchedKernel, ptx: str) -> dict[str, Any]:
    at_launch = kernel.cluster_at_launch
    return {
        "kernel": kernel.kernel,
        "ptx": ptx,
        "ptx_bytes": len(kernel.text.encode()),
        "sha256": kernel.sha256,
        "ptx_isa": kernel.ptx_isa,
        "ptx_target": kernel.ptx_target,
        "parameters": list(kernel.parameters),
        "launch": {n: e.to_json() for n, e in kernel.launch.items()},
        "extra_args": [e.to_json() for e in kernel.extra_args],
        **({"cluster": list(kernel.cluster)} if kernel.cluster != (1, 1, 1) else {}),
        **({"cluster_at_launch": list(at_launch)} if at_launch else {}),
        "registers": kernel.registers,
        "spills": kernel.spills,
    }


def _workspace_to_json(workspace: Workspace) -> dict[str, Any]:
    return {"bytes": workspace.bytes.to_json(), "at_most": workspace.at_most}


def write(bundle: Bundle, directory: Path) -> str:
    """Write a bundle, replacing the one in `directory`; returns the SHA-256 of its manifest.

    Raises:
        DefinitionError: The bundle could not be read again, here or by the launcher: it exceeds a limit, or has
            parts that do not belong together.
        UsageError: `directory` holds something that is not a bundle, or cannot be written.
    """
    data = manifest(bundle)
    text = json.dumps(data, indent=1, allow_nan=False).encode() + b"\n"
    _require_readable(data, text, bundle)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory, fcntl.LOCK_EX):
            _require_ours(directory)
            texts = _texts(bundle)
            for name, ptx in texts.items():
                replace_file(directory / name, ptx.encode())
            replace_file(directory / MANIFEST, text)
            named = {MANIFEST, *texts}
            for path in directory.iterdir():
                if path.name not in named:
                    path.unlink()
    except OSError as error:
        raise UnwritableError(f"cannot write {directory}: {error.strerror}", hint="choose another --out") from error
    return hashlib.sha256(text).hexdigest()


def write_once(bundle: Bundle, directory: Path) -> str:
    """As `write`, but where the very same bundle is in `directory` already, nothing is touched."""
    text = json.dumps(manifest(bundle), indent=1, allow_nan=False).encode() + b"\n"
    sha256 = hashlib.sha256(text).hexdigest()
    try:
        with _locked(directory, fcntl.LOCK_SH):
            files = {path.name for path in directory.iterdir()}
            texts = _texts(bundle)
            whole = files == {MANIFEST, *texts} and _read(directory / MANIFEST, "manifest_bytes") == text
            if whole and all(_read(directory / n, "ptx_bytes") == ptx.encode() for n, ptx in texts.items()):
                return sha256
    except OSError:
        pass  # there is none, or not a whole one
    return write(bundle, directory)


def _texts(bundle: Bundle) -> dict[str, str]:
    """The PTX of all kernels, by the names of their files."""
    return {name: text for variant in bundle.variants for name, text in variant.texts.items()}


def _require_readable(data: dict[str, Any], text: bytes, bundle: Bundle) -> None:
    """Hold what is about to be written against the rules for what is read.

    Raises:
        DefinitionError: It breaks one.
    """
    hint = "give it a shorter name or fewer parts; docs/bundle.md lists the limits"
    sizes = {"manifest_bytes": len(text), "total_ptx_bytes": sum(len(ptx.encode()) for ptx in _texts(bundle).values())}
    for name, size in sizes.items():
        if size > LIMITS[name]:
            raise LimitError(f"the bundle has {size} bytes, more than {LIMITS[name]} (limit {name})", hint=hint)
    documents.validate(data, "bundle", where=MANIFEST, hint=hint)
    network = network_from_json(data)
    for variant in bundle.variants:
        _require_consistent(variant, network, bundle.road)


def _require_ours(directory: Path) -> None:
    """Raise UsageError unless every file in `directory` is of a bundle, or of one whose writing was interrupted."""
    strangers = [p.name for p in directory.iterdir() if p.is_dir() or not OWN_FILE.fullmatch(p.name)]
    path = directory / MANIFEST
    if not strangers and os.path.lexists(path) and not _is_manifest(path):
        strangers = [f"another program's {MANIFEST}"]
    if strangers:
        raise ExistsError(f"{directory} is not a bundle: it holds {min(strangers)}", hint="choose another --out")


def _is_manifest(path: Path) -> bool:
    try:
        return str(json.loads(_read(path, "manifest_bytes"))["schema"]).startswith("aotfactory.bundle/")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def require_bundle(directory: Path) -> None:
    """Raise UsageError where `directory` holds no bundle, as after a mistyped path."""
    if not os.path.lexists(directory):
        raise ArtifactError(
            f"{directory} is not a bundle: no such file or directory", hint="create one with `aotfactory compile`"
        )
    if not os.path.lexists(directory / MANIFEST):
        raise ArtifactError(
            f"{directory} is not a bundle: it has no {MANIFEST}", hint="create one with `aotfactory compile`"
        )


def _read(path: Path, limit: str) -> bytes:
    return read_file(path, limit=LIMITS[limit])


def digest(directory: Path) -> str | None:
    """SHA-256 of a bundle's manifest, which holds those of its PTX files; None where there is no manifest.

    Raises:
        DefinitionError: The manifest is not a file that a bundle may have.
    """
    try:
        return hashlib.sha256(_read(directory / MANIFEST, "manifest_bytes")).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _damaged(error, directory) from error


def read(directory: Path) -> Bundle:
    """Read a bundle and verify every PTX file against the manifest.

    Raises:
        UsageError: There is no bundle in `directory`.
        DamagedBundleError: It is not as it was written.
    """
    require_bundle(directory)
    path = directory / MANIFEST
    try:
        with _locked(directory, fcntl.LOCK_SH):
            data = documents.parse_json(_read(path, "manifest_bytes"))
            if isinstance(data, dict) and isinstance(found := data.get("schema"), str) and found != SCHEMA:
                raise DamagedBundleError(f"schema {found[:64]!r} is not {SCHEMA}", where=str(path), hint=_HINT)
            documents.validate(data, "bundle", where=str(path), hint=_HINT)
            network = network_from_json(data)
            versions, road = dict(data["versions"]), data.get("road", "aot")
            variants = _variants(directory, data["variants"], network, road)
            skipped = dict(data.get("skipped_checks", {}))
            return Bundle(network=network, variants=variants, versions=versions, skipped=skipped, road=road)
    except (ValueError, OSError) as error:
        raise _damaged(error, directory) from error
    except DefinitionError as error:
        raise DamagedBundleError(error.message, where=error.where or str(path), hint=_HINT) from error


_HINT = "compile it again"


def _damaged(error: Exception, directory: Path) -> DamagedBundleError:
    problem = error.strerror if isinstance(error, OSError) else error
    place = getattr(error, "filename", None) or directory / MANIFEST
    return DamagedBundleError(f"damaged bundle: {problem}", where=str(place), hint=_HINT)


def _variants(directory: Path, items: list[dict[str, Any]], network: Network, road: Road) -> tuple[Variant, ...]:
    found: dict[str, Variant] = {}
    total = 0
    for item in items:
        variant = _variant(directory, item)
        _require_consistent(variant, network, road)
        total += sum(len(text.encode()) for text in variant.texts.values())
        if total > LIMITS["total_ptx_bytes"]:
            raise DamagedBundleError(f"more than {LIMITS['total_ptx_bytes']} bytes of PTX (limit total_ptx_bytes)")
        if found.setdefault(variant.id, variant) is not variant:
            raise DamagedBundleError(f"two variants are called {variant.id!r}")
    if without := [call.name for call in network.calls if all(v.call != call.name for v in found.values())]:
        raise DamagedBundleError(f"the call {without[0]} has no variant")
    return tuple(found.values())


def _variant(directory: Path, data: dict[str, Any]) -> Variant:
    variant = Variant(
        id=data["id"],
        call=data["call"],
        plugin=data["plugin"],
        arch=data["arch"],
        dtypes=tuple(data["dtypes"]),
        formats=tuple(data["formats"]),
        tactic=data["tactic"],
        workspaces=tuple(
            Workspace(bytes=expressions.from_json(w["bytes"]), at_most=w["at_most"]) for w in data.get("workspaces", ())
        ),
        then=tuple(LaunchedKernel(**_kernel(directory, item)) for item in data.get("then", ())),
        **_kernel(directory, data),
    )
    for kernel, item in zip(variant.kernels, [data, *data.get("then", ())], strict=True):
        if variant.file_of(kernel) != item["ptx"]:
            raise DamagedBundleError(
                f"{item['ptx']} is not the name of its content: {variant.file_of(kernel)}",
                where=str(directory / MANIFEST),
            )
    return variant


def _kernel(directory: Path, data: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `LaunchedKernel`, its PTX verified."""
    name = data["ptx"]
    path = directory / name
    if not OWN_FILE.fullmatch(name):
        raise DamagedBundleError(f"{name!r} is not the name of a bundle's file", where=str(directory / MANIFEST))
    content = _read(path, "ptx_bytes")
    if hashlib.sha256(content).hexdigest() != data["sha256"]:
        raise DamagedBundleError(
            f"{name} is not the file that was compiled: its SHA-256 differs from the manifest's",
            where=str(path),
            hint=_HINT,
        )
    if len(content) != data["ptx_bytes"] or b"\0" in content:
        raise DamagedBundleError(
            f"{name} has {len(content)} bytes, the manifest says {data['ptx_bytes']}; or a zero byte"
        )
    x, y, z = data.get("cluster", (1, 1, 1))
    at_launch = data.get("cluster_at_launch")
    return {
        "kernel": data["kernel"],
        "text": content.decode(),
        "ptx_isa": data["ptx_isa"],
        "ptx_target": data["ptx_target"],
        "parameters": tuple(data["parameters"]),
        "cluster": (int(x), int(y), int(z)),
        "cluster_at_launch": tuple(map(int, at_launch)) if at_launch else None,
        "registers": data["registers"],
        "spills": data["spills"],
        "launch": {n: expressions.from_json(e) for n, e in data["launch"].items()},
        "extra_args": tuple(arguments.from_json(e) for e in data["extra_args"]),
    }


def _require_consistent(variant: Variant, network: Network, road: Road) -> None:
    """Hold a variant against its call, as the launcher does.

    Raises:
        DefinitionError: They do not belong together.
    """
    call = next((c for c in network.calls if c.name == variant.call), None)
    if call is None or call.plugin != variant.plugin:
        raise DocumentError(f"{variant.id}: the network has no call {variant.call!r} of {variant.plugin}")
    tensors = len(call.inputs) + len(call.outputs)
    if not len(variant.dtypes) == len(variant.formats) == tensors:
        raise DocumentError(f"{variant.id}: dtypes and formats need one entry for each of {tensors} tensors")
    if road != "library" and variant.needs_library:
        raise DocumentError(f"{variant.id}: it needs a plugin library, but the bundle does not say so (road)")
    for kernel in variant.kernels:
        kinds = kernel.parameters[len(call.inputs) : len(call.inputs) + len(kernel.extra_args)]
        pointers = ("ptr",) * len(call.inputs), ("ptr",) * (len(call.outputs) + len(variant.workspaces))
        if kernel.parameters != (*pointers[0], *kinds, *pointers[1]) or len(kinds) != len(kernel.extra_args):
            raise DocumentError(
                f"{variant.id}: parameters must be one ptr for each input, one i32, i64 or fp32 for each extra "
                "argument, one ptr for each output and each workspace"
            )
        for kind, argument in zip(kinds, kernel.extra_args, strict=True):
            if (kind == "fp32") != isinstance(argument, Quotient) or kind not in KINDS:
                raise DocumentError(f"{variant.id}: an {kind} argument that is {argument}")
        if math.prod(kernel.clusters) > LIMITS["cluster"]:
            raise DocumentError(f"{variant.id}: a cluster of more than {LIMITS['cluster']} blocks")
    for expr in variant.expressions:
        require_known_symbols(expr, network, variant.id)


@contextmanager
def _locked(directory: Path, kind: int) -> Iterator[None]:
    """Who writes a bundle has it alone: no one removes files that another is about to name, or to read."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Some network file systems have no locks for directories: what is in place there is whole all the same.
        with suppress(OSError):
            fcntl.flock(handle, kind)
        yield
    finally:
        os.close(handle)
