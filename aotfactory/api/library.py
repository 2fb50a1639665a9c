# SPDX-License-Identifier: Apache-2.0
"""``aotfactory library BUNDLE...``: a TensorRT plugin library that carries bundles."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotfactory.compiler import bundle as bundles
from aotfactory.core.errors import OptionValueError, UnwritableError
from aotfactory.executors.native.plugin_library import link_library
from aotfactory.plan.library import LibraryDocument, library_document


@dataclass(frozen=True, kw_only=True)
class PluginLibrary:
    """A plugin library on disk.

    Attributes:
        path: The shared library, for trtexec's ``--dynamicPlugins``.
        document: What it carries.
        sha256: Of the file.
    """

    path: Path
    document: LibraryDocument
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """The result for programs, schema ``aotfactory.plugin_library/1``."""
        return {
            "schema": "aotfactory.plugin_library/1",
            "path": str(self.path),
            "sha256": self.sha256,
            "plugins": [_plugin_to_json(self.document, plugin) for plugin in self.document.plugins],
        }


def library(
    directories: Sequence[Path | str], output: Path | str, *, tensorrt_root: Path | str | None = None
) -> PluginLibrary:
    """Write a TensorRT plugin library (C++, `IPluginV3`) that carries the kernels of bundles.

    Its creators have the plugins' own names, namespaces and attributes, so models and networks stay as they are. It is
    for the major version of TensorRT whose headers it is compiled with.

    Args:
        directories: Bundles.
        output: The library, as ``libcirc_pad.so``.
        tensorrt_root: Where TensorRT's ``include`` is; by default $TENSORRT_ROOT, else the system's.

    Raises:
        UsageError: There is no bundle, or `output` cannot be written.
        DamagedError: A bundle is damaged.
        LibraryError: See `library_document`.
        MissingError: No compiler, CMake, or headers of TensorRT and CUDA.
    """
    path = Path(output)
    if path.suffix != ".so":
        raise OptionValueError(f"{path} is not a name for a library", hint="write -o libNAME.so")
    if not directories:
        raise OptionValueError("a library needs a bundle", hint="create one with `aotfactory compile`")
    document = library_document([bundles.read(Path(directory)) for directory in directories])
    try:
        link_library(document.text(), path, tensorrt_root=Path(tensorrt_root) if tensorrt_root else None)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UnwritableError(f"cannot write {path}: {error.strerror}", hint="choose another --output") from error
    return PluginLibrary(path=path, document=document, sha256=sha256)


def _plugin_to_json(document: LibraryDocument, plugin: str) -> dict[str, Any]:
    parts = [p for p in document.parts if p.network.calls[0].plugin == plugin]
    variants = [v for p in parts for v in p.variants]
    return {
        "plugin": plugin,
        "attributes": list(parts[0].network.calls[0].attributes),
        "calls": len(parts),
        "architectures": sorted({v.arch for v in variants}),
        "combinations": sorted({"-".join(v.dtypes) for v in variants}),
        "tactics": sorted({v.tactic for v in variants}),
        "kernels": len(variants),
    }
