# SPDX-License-Identifier: Apache-2.0
"""Link-time stubs of the three TensorRT libraries that NVIDIA's Python bindings are linked against.

They stand in for TensorRT's builder and ONNX parser where only the lean runtime is installed, as CUDA's own stub stands
in for libcuda. Each function says "not here" (null, 0) in the way that its caller in the bindings checks for. The lean
library is loaded first and with global symbols, so whatever it exports itself wins over the stub of the same name.

A stub is less than a kilobyte of ELF, so it is assembled here: neither a compiler nor a writable directory is needed.
Layout: "Executable and Linking Format Specification" (TIS), and the System V ABI of each machine.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import tempfile

from aotfactory.core.errors import NoTensorRTError

LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
"""The libraries that TensorRT's Python bindings are linked against."""

FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "getBuilderPluginRegistry",
    "getPluginRegistry",
    "initLibNvInferPlugins",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getNvOnnxParserVersion",
)
"""All that the bindings take from them. Every stub has every function: the first library that is loaded serves it."""

MACHINES = {
    "x86_64": (62, bytes.fromhex("31c0c3")),  # EM_X86_64; xor eax, eax; ret
    "aarch64": (183, bytes.fromhex("000080d2c0035fd6")),  # EM_AARCH64; mov x0, #0; ret
}

PAGE = 0x10000
"""Alignment of segments: the largest page of either machine."""


def soname(library: str, major: int) -> str:
    """The file name, and SONAME, of one TensorRT library: ``libnvinfer.so.11``."""
    return f"lib{library}.so.{major}"


def stub(name: str, machine: str, functions: tuple[str, ...] = FUNCTIONS) -> bytes:
    """A shared library with this SONAME, whose functions take anything and return 0.

    Raises:
        MissingError: It is not known how to write one for this machine.
    """
    if machine not in MACHINES:
        raise NoTensorRTError(
            f"there is no compile-only TensorRT for {machine}",
            hint=f"it is for {' and '.join(MACHINES)}; the full TensorRT needs no stubs",
        )
    number, code = MACHINES[machine]
    names = b"\0" + b"\0".join(text.encode() for text in (name, *functions)) + b"\0"
    offsets = {text: names.index(b"\0" + text.encode() + b"\0") + 1 for text in (name, *functions)}
    count = len(functions) + 1
    headers = 64 + 4 * 56
    # One bucket, so that a look-up walks all symbols, whatever their hashes are.
    table = struct.pack(f"<{2 + 1 + count}I", 1, count, 1, 0, *range(2, count), 0)
    at_symbols = headers + len(table) + -len(table) % 8
    at_names = at_symbols + count * 24
    at_code = at_names + len(names) + -len(names) % 16
    at_dynamic = at_code + len(code) + -len(code) % 16
    # st_name, st_info (STB_GLOBAL, STT_FUNC), st_other, st_shndx (any but SHN_UNDEF), st_value, st_size
    symbols = bytes(24) + b"".join(
        struct.pack("<IBBHQQ", offsets[function], 0x12, 0, 1, at_code, len(code)) for function in functions
    )
    entries = ((14, offsets[name]), (4, headers), (5, at_names), (6, at_symbols), (10, len(names)), (11, 24), (0, 0))
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in entries)  # SONAME, HASH, STRTAB, SYMTAB, STRSZ, SYMENT
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01" + bytes(9),  # 64 bits, little-endian
        *(3, number, 1, 0, 64, 0, 0, 64, 56, 4, 64, 0, 0),  # ET_DYN; 4 program headers at 64; no sections
    )
    read_execute, read_write, size = 5, 6, len(dynamic)
    # The loader writes into the dynamic section, which so has a page of its own.
    segments = struct.pack("<IIQQQQQQ", 1, read_execute, 0, 0, 0, at_dynamic, at_dynamic, PAGE)
    segments += struct.pack(
        "<IIQQQQQQ", 1, read_write, at_dynamic, PAGE + at_dynamic, PAGE + at_dynamic, size, size, PAGE
    )
    segments += struct.pack("<IIQQQQQQ", 2, read_write, at_dynamic, PAGE + at_dynamic, PAGE + at_dynamic, size, size, 8)
    # PT_GNU_STACK: without it a library asks for a stack that can be executed, which glibc 2.41 and later refuse.
    segments += struct.pack("<IIQQQQQQ", 0x6474E551, read_write, 0, 0, 0, 0, 0, 16)
    image = header + segments + table
    for offset, part in ((at_symbols, symbols), (at_names, names), (at_code, code), (at_dynamic, dynamic)):
        image = image.ljust(offset, b"\0") + part
    return image


def load_stubs(major: int) -> None:
    """Load the stubs for one major version of TensorRT into this process, for good.

    The dynamic linker then takes them for the SONAMEs that the bindings ask for; ctypes never closes a library.

    Raises:
        MissingError: They can't be written for this machine, or it does not let them be loaded.
    """
    try:
        for library in LIBRARIES:
            _open(stub(soname(library, major), platform.machine()))
    except OSError as error:
        hint = "set TMPDIR to a directory that can be written and is not mounted noexec"
        raise NoTensorRTError(f"the link-time stubs of TensorRT cannot be loaded: {error}", hint=hint) from error


def _open(image: bytes) -> None:
    """Load a library from memory, or from a temporary file where the system forbids that."""
    try:
        handle = os.memfd_create("aotfactory-stub")
    except OSError:
        handle, path = tempfile.mkstemp(prefix="aotfactory-stub-", suffix=".so")
    else:
        path = f"/proc/self/fd/{handle}"
    os.write(handle, image)
    try:
        ctypes.CDLL(path)
    finally:
        # The linker takes a path that it knows for the library it once found there. So the number of a file in memory
        # must not be given to another: it stays open.
        if not path.startswith("/proc/"):
            os.close(handle)
            os.unlink(path)
