# SPDX-License-Identifier: Apache-2.0
"""CUDA C++ around a user's kernel: an entry that takes TensorRT's arguments in TensorRT's order and calls it.

A `__global__` function cannot be called by another, so for the user's source the word means a device function, which
the compiler inlines into the entry. The compiler itself checks the types: a tensor arrives as an object that turns into
pointers to its own element type only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aotfactory.core.errors import CudaSourceError, KernelArgumentError

_BYTES = ("void", "uint2", "uint4", "int2", "int4", "ulonglong2")
"""Types that any tensor may be taken as, to move it by."""
_ELEMENTS = {
    "fp32": ("float", "float2", "float4"),
    "fp16": ("__half", "__half2", "unsigned short"),
    "bf16": ("__nv_bfloat16", "__nv_bfloat162", "unsigned short"),
    "fp8": ("__nv_fp8_e4m3", "__nv_fp8_storage_t", "unsigned char"),
    "int8": ("signed char", "char", "char4"),
    "uint8": ("unsigned char", "uchar4"),
    "int32": ("int", "unsigned int"),
    "int64": ("long long", "long", "longlong2"),
    "bool": ("bool", "unsigned char"),
}
_INTEGER = re.compile(r"\b(int|long|short|char|unsigned|bool|size_t|u?int(8|16|32|64)_t)\b")

_BEFORE = """\
#undef __global__
#define __global__ __device__ __forceinline__
#define __launch_bounds__(...)
#define __maxnreg__(...)
#define __grid_constant__
"""
_AFTER = """
struct __half; struct __half2; struct __nv_bfloat16; struct __nv_bfloat162; struct __nv_fp8_e4m3;
namespace aotfactory {
template <class T> struct bare { typedef T type; };
template <class T> struct bare<const T> : bare<T> {};
template <class T> struct bare<volatile T> : bare<T> {};
template <class T> struct bare<const volatile T> : bare<T> {};
template <class T, class... Others> struct one_of { static const bool value = false; };
template <class T, class First, class... Others> struct one_of<T, First, Others...> : one_of<T, Others...> {};
template <class T, class... Others> struct one_of<T, T, Others...> { static const bool value = true; };
}
"""


@dataclass(frozen=True)
class CudaKernel:
    """A kernel as its source declares it.

    Attributes:
        name: With template arguments, as it is called.
        parameters: The declared type of each, by name.
        attributes: What the declaration says of the launch: ``__launch_bounds__(256)``.
    """

    name: str
    parameters: Mapping[str, str]
    attributes: str


def declared(source: str, name: str, where: str) -> CudaKernel:
    """Find a kernel in its source.

    Raises:
        DefinitionError: There is none of this name, or its parameters cannot be read.
    """
    text = _without_comments(source)
    base = name.partition("<")[0].strip()
    kernels = re.findall(r"__global__[^;{}]*?\b(\w+)\s*\((?!\s*\d)", re.sub(r"__launch_bounds__\s*\([^)]*\)", "", text))
    for found in re.finditer(rf"__global__([^;{{}}]*?)\b{re.escape(base)}\s*\(", text):
        parameters: dict[str, str] = {}
        for item in _items(text[found.end() :]):
            words = re.fullmatch(r"(.*?[\s*&])(\w+)\s*(\[\s*\])?", item.partition("=")[0].strip(), re.DOTALL)
            if words is None:
                raise KernelArgumentError(
                    f"the parameter {item.strip()!r} of {base} has no name that can be read",
                    where=where,
                    hint="write type and name of each parameter in the source itself, not by a macro",
                )
            type_ = " ".join(words[1].split()) + (" *" if words[3] else "")
            parameters[words[2]] = type_
        attributes = re.findall(r"__(?:launch_bounds|maxnreg)__\s*\([^)]*\)", found[1])
        return CudaKernel(name, parameters, " ".join(attributes))
    there = f"it has {', '.join(dict.fromkeys(kernels))}" if kernels else "it has no __global__ function"
    raise CudaSourceError(f"the source has no kernel {base!r}", where=where, hint=there)


_NUMBERS = {"i32": "int", "i64": "long long", "fp32": "float"}


def with_entry(
    source: str,
    kernel: CudaKernel,
    entry: str,
    *,
    order: Sequence[str],
    tensors: Mapping[str, str],
    extra: Mapping[str, str],
    constants: Mapping[str, Any],
    arrives_as: Mapping[str, str],
    line: int,
    file: str,
) -> str:
    """The source with an entry that takes `order` and calls the kernel.

    Args:
        tensors: Data type of each pointer of the entry.
        extra: The entry's numbers, each with how it is passed: ``i32``, ``i64``, ``fp32``.
        arrives_as: The entry's pointer for each pointer parameter of the kernel.
        line, file: Where the source begins, for messages.
    """
    made = [_BEFORE, f'#line {line} "{file}"\n', source, '\n#line 1 "aotfactory"', _AFTER]
    for parameter, pointer in arrives_as.items():
        dtype, type_ = tensors[pointer], kernel.parameters[parameter]
        allowed = ", ".join((*_ELEMENTS[dtype], *_BYTES)).replace(", __nv_fp8_storage_t", "")
        text = f"{kernel.name.partition('<')[0]} takes {parameter} as {type_}, but the tensor is {dtype}"
        made.append(
            f"struct aot_{parameter} {{ const void *p; template <class T> __device__ operator T *() const {{ "
            f"static_assert(aotfactory::one_of<typename aotfactory::bare<T>::type, {allowed}>::value, "
            f'"{text}"); return (T *)p; }} }};\n'
        )
    restrict = {p for n, p in arrives_as.items() if "__restrict__" in kernel.parameters[n]}
    parameters = [
        f"{_NUMBERS[extra[n]]} {n}" if n in extra else f"void *{'__restrict__ ' if n in restrict else ''}{n}"
        for n in order
    ]
    passed = []
    for name, type_ in kernel.parameters.items():
        if name in arrives_as:
            passed.append(f"aot_{name}{{{arrives_as[name]}}}")
        else:
            passed.append(name if name in extra else _literal(name, type_, constants[name]))
    made.append(
        f'extern "C" __attribute__((global)) void {_launch(kernel.attributes)} {entry}({", ".join(parameters)}) '
        f"{{ {kernel.name}({', '.join(passed)}); }}\n"
    )
    return "".join(made)


def _launch(attributes: str) -> str:
    """Launch attributes as the compiler knows them, for the words themselves are defined away."""
    return re.sub(r"__(launch_bounds|maxnreg)__\s*(\([^)]*\))", r"__attribute__((\1\2))", attributes)


def _literal(name: str, type_: str, value: Any) -> str:
    if value is None:
        return "nullptr"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if -(2**31) < value < 2**31 else f"{value}{'ULL' if value >= 2**63 else 'LL'}"
    if isinstance(value, float):
        if _INTEGER.search(type_):
            raise KernelArgumentError(
                f"{name} is {value}, but the kernel declares it {type_}", hint="give it an integer"
            )
        if math.isnan(value):
            return '__builtin_nan("")'
        return repr(value) if math.isfinite(value) else f"{'-' if value < 0 else ''}__builtin_huge_val()"
    raise KernelArgumentError(
        f"{name} is a {type(value).__name__}, which CUDA C++ cannot be given",
        hint="give a tensor of the call, an expression of dimensions, an int, float, bool or None",
    )


def _without_comments(source: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m[0]), source, flags=re.DOTALL)


def _items(text: str) -> list[str]:
    """The texts between commas, up to the closing parenthesis."""
    items, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        if letter in "([<{":
            depth += 1
        elif letter in ")]>}":
            if depth == 0:
                items.append(text[start:i])
                break
            depth -= 1
        elif letter == "," and depth == 0:
            items.append(text[start:i])
            start = i + 1
    return [item for item in items if item.strip() not in ("", "void")]
