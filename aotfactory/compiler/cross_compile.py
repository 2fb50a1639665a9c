# SPDX-License-Identifier: Apache-2.0
"""Cross-compilation with Triton: an unchanged `triton.compile(src)` compiles for the architecture asked for.

Triton asks its active driver for the target, a backend class for the options, and tells a listener what it compiled;
these three hooks are set for the duration, so no definition has to know about it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

from triton import knobs
from triton.backends.nvidia.compiler import CUDABackend
from triton.compiler.compiler import AsmDict

from aotfactory.compiler.older_triton import older_calls
from aotfactory.core.arch import SHARED_LIMIT, Road
from aotfactory.plugins import device


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """One kernel that Triton compiled.

    Attributes:
        signature: Triton type of each parameter by name: ``*fp32``, ``i32``, ``constexpr``.
        divisible: Parameters that the kernel was promised to be divisible, with the divisor.
        metadata: Triton's metadata of the kernel: name, num_warps, shared, global_scratch_size, ...
        ptx: The PTX as Triton wrote it.
        source: Hash of the kernel's source, signature and constants, whatever it was compiled for.
        texts: Of what Triton made on the way (ttir, ttgir, llir), what the definitions looked at.
    """

    signature: dict[str, str]
    divisible: dict[str, int]
    metadata: dict[str, Any]
    ptx: str
    source: str
    texts: dict[str, str] = field(default_factory=dict)


@contextmanager
def compiling_for(
    capability: int, ptx_isa: int, shared: int = SHARED_LIMIT, *, road: Road = "aot", assemble: bool = True
) -> Iterator[list[Compilation]]:
    """Make Triton compile for a compute capability (90) and PTX ISA (80), reproducibly.

    Args:
        shared: Bytes of shared memory that the kernels' launcher gives a block.
        road: What the kernels are for.
        assemble: Have Triton run ptxas on what it made. It takes a fifth of the time, and what ships is not that PTX
            but the fitted one, which is assembled anyway.

    Yields:
        The kernels compiled so far, in order; it grows as they are compiled.
    """
    compiled: list[Compilation] = []
    parse_options, make_cubin, own_hash = CUDABackend.parse_options, CUDABackend.make_cubin, CUDABackend.hash
    previous_listener, take = knobs.compilation.listener, AsmDict.__getitem__

    def with_defaults(self: Any, options: dict[str, Any]) -> Any:
        # Triton takes the newest ISA its ptxas knows, which older drivers refuse, and its default for fusing
        # multiplications and additions differs between versions.
        return parse_options(self, {"ptx_version": ptx_isa, "enable_fp_fusion": True, **options})

    def listen(*, src: Any, metadata: dict[str, Any], metadata_group: dict[str, str], **rest: Any) -> None:
        ptx = next((path for name, path in metadata_group.items() if name.endswith(".ptx")), None)
        if ptx is not None and hasattr(src, "signature"):
            with open(ptx) as file:
                compiled.append(_compilation(src, metadata, file.read()))
        if previous_listener is not None:
            previous_listener(src=src, metadata=metadata, metadata_group=metadata_group, **rest)

    def quietly(*args: Any) -> Any:
        if not assemble:
            return b""
        with redirect_stdout(io.StringIO()):  # where ptxas fails, Triton prints the whole kernel
            return make_cubin(*args)

    def look(self: dict[str, Any], kind: str) -> Any:
        value = take(self, kind)
        if kind in ("ttir", "ttgir", "llir"):
            for compilation in compiled:
                if compilation.ptx == self.get("ptx"):
                    compilation.texts[kind] = value
        return value

    def hashed(self: Any) -> str:
        """Part of Triton's cache key: who launches kernels through Triton must not find one without its cubin."""
        return f"{own_hash(self)}{'' if assemble else '-ptx'}"

    CUDABackend.parse_options, CUDABackend.make_cubin, CUDABackend.hash = with_defaults, quietly, hashed
    AsmDict.__getitem__ = look
    try:
        with (
            device.answering(capability),
            device.limiting(shared),
            device.taking(road),
            older_calls(),
            knobs.compilation.scope(),
        ):
            knobs.compilation.listener = listen
            knobs.compilation.disable_line_info = True  # it names the source directory
            yield compiled
    finally:
        CUDABackend.parse_options, CUDABackend.make_cubin, CUDABackend.hash = parse_options, make_cubin, own_hash
        AsmDict.__getitem__ = take
        knobs.compilation.listener = previous_listener


def _compilation(src: Any, metadata: dict[str, Any], ptx: str) -> Compilation:
    names = list(src.fn.arg_names)  # the order of parameters, which that of the signature need not be
    divisible = {
        names[path[0]]: int(value)
        for path, attributes in src.attrs.items()
        for key, value in attributes
        if key == "tt.divisibility" and path[0] < len(names)
    }
    return Compilation(
        signature={name: src.signature[name] for name in names if name in src.signature},
        divisible=divisible,
        metadata=dict(metadata),
        ptx=ptx,
        source=src.hash(),
    )
