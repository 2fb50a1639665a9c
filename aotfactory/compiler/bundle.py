# SPDX-License-Identifier: Apache-2.0
"""The bundle on disk: ``NAME.aot/`` with ``manifest.json`` and one PTX file for every variant.

PTX files are named by their content and never overwritten; the manifest is replaced in one step after them, and what
it no longer names is removed last. So whatever interrupts a build, the manifest names a complete set of files.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aotfactory.compiler.manifest import PTX_FILE, SCHEMA, bundle_from_json, require_consistent
from aotfactory.compiler.manifest import Bundle as Bundle
from aotfactory.compiler.manifest import manifest as manifest
from aotfactory.compiler.variant_json import from_texts
from aotfactory.core import documents
from aotfactory.core.errors import (
    ArtifactError,
    DamagedBundleError,
    DefinitionError,
    ExistsError,
    LimitError,
    UnwritableError,
)
from aotfactory.core.files import read_file, replace_file
from aotfactory.core.limits import LIMITS

MANIFEST = "manifest.json"

OWN_FILE = re.compile(
    rf"{re.escape(MANIFEST)}|{PTX_FILE.pattern}|\.({re.escape(MANIFEST)}|[\w.-]+\.ptx)\.\w+\.tmp", re.ASCII
)
"""The only files that are written to a bundle, and the only ones that are ever removed from one."""


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
            texts = bundle.texts
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
            texts = bundle.texts
            whole = files == {MANIFEST, *texts} and _read(directory / MANIFEST, "manifest_bytes") == text
            if whole and all(_read(directory / n, "ptx_bytes") == ptx.encode() for n, ptx in texts.items()):
                return sha256
    except OSError:
        pass  # there is none, or not a whole one
    return write(bundle, directory)


def _require_readable(data: dict[str, Any], text: bytes, bundle: Bundle) -> None:
    """Hold what is about to be written against the rules for what is read.

    Raises:
        DefinitionError: It breaks one.
    """
    hint = "give it a shorter name or fewer parts; docs/bundle.md lists the limits"
    sizes = {"manifest_bytes": len(text), "total_ptx_bytes": sum(len(ptx.encode()) for ptx in bundle.texts.values())}
    for name, size in sizes.items():
        if size > LIMITS[name]:
            raise LimitError(f"the bundle has {size} bytes, more than {LIMITS[name]} (limit {name})", hint=hint)
    documents.validate(data, "bundle", where=MANIFEST, hint=hint)
    require_consistent(bundle_from_json(data, from_texts(bundle.texts)))


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
        inside = sorted(path.parent.name for path in directory.glob(f"*/{MANIFEST}"))
        hint = (
            f"it holds {', '.join(inside[:5])}: name one of them" if inside else "create one with `aotfactory compile`"
        )
        raise ArtifactError(f"{directory} is not a bundle: it has no {MANIFEST}", hint=hint)


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
            bundle = bundle_from_json(data, _Texts(directory))
            require_consistent(bundle)
            return bundle
    except (ValueError, OSError) as error:
        raise _damaged(error, directory) from error
    except DefinitionError as error:
        raise DamagedBundleError(error.message, where=error.where or str(path), hint=_HINT) from error


_HINT = "compile it again"


def _damaged(error: Exception, directory: Path) -> DamagedBundleError:
    problem = error.strerror if isinstance(error, OSError) else error
    place = getattr(error, "filename", None) or directory / MANIFEST
    return DamagedBundleError(f"damaged bundle: {problem}", where=str(place), hint=_HINT)


class _Texts:
    """The PTX of a bundle's kernels, each file read once and verified against the manifest."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.contents: dict[str, bytes] = {}

    def __call__(self, kernel: Mapping[str, Any]) -> str:
        name = kernel["ptx"]
        if not PTX_FILE.fullmatch(name):
            raise DamagedBundleError(f"{name!r} is not the name of a bundle's file")
        content = self.contents.get(name)
        if content is None:
            content = self.contents[name] = _read(self.directory / name, "ptx_bytes")
            if sum(map(len, self.contents.values())) > (most := LIMITS["total_ptx_bytes"]):
                raise DamagedBundleError(f"more than {most} bytes of PTX (limit total_ptx_bytes)")
        if hashlib.sha256(content).hexdigest() != kernel["sha256"]:
            raise DamagedBundleError(
                f"{name} is not the file that was compiled: its SHA-256 differs from the manifest's",
                where=str(self.directory / name),
            )
        if len(content) != kernel["ptx_bytes"] or b"\0" in content:
            raise DamagedBundleError(
                f"{name} has {len(content)} bytes, the manifest says {kernel['ptx_bytes']}; or a zero byte"
            )
        return content.decode()


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
