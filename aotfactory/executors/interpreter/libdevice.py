# SPDX-License-Identifier: Apache-2.0
"""CUDA's libdevice for Triton's interpreter, which has none: each function computed by NumPy or SciPy in float64.

Triton dispatches a libdevice function by the types of its arguments to a symbol of NVIDIA's library (`__nv_asinf`);
here the symbol is computed instead. Directed rounding, bit tricks and whatever else is not listed stay unsupported.
Names and meanings: NVIDIA's "libdevice User's Guide".
"""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from triton.language import core
from triton.language.extra import libdevice as generic
from triton.runtime import interpreter

from aotfactory.executors.inputs import Array


def _special(name: str) -> Callable[..., Any]:
    def compute(*arguments: Any) -> Any:
        try:
            import scipy.special
        except ImportError as error:
            raise NotImplementedError(f"libdevice's {name} needs SciPy here: pip install scipy") from error
        return getattr(scipy.special, name)(*arguments)

    return compute


def _norm(*arguments: Array) -> Array:
    return np.asarray(np.sqrt(sum(np.square(a) for a in arguments)))


def _round(x: Array) -> Array:
    return np.copysign(np.floor(np.abs(x) + 0.5), x)  # halves away from zero


FLOATS: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(np, name)
        for name in ["ceil", "cos", "cosh", "exp", "exp2", "expm1", "fabs", "floor", "fmod", "hypot", "ldexp", "log"]
    },
    **{
        name: getattr(np, name)
        for name in ["log10", "log1p", "log2", "nextafter", "rint", "sin", "sinh", "sqrt", "tan", "tanh", "trunc"]
    },
    **{f"a{name}": getattr(np, f"arc{name}") for name in ["cos", "cosh", "sin", "sinh", "tan", "tanh", "tan2"]},
    **{f"{name}d": getattr(np, name) for name in ["isinf", "isnan", "isfinite", "signbit"]},
    **{f"fast_{name}": getattr(np, name) for name in ["cos", "exp", "log", "log10", "log2", "sin", "tan", "tanh"]},
    **{name: _special(name) for name in ["erfc", "erfcinv", "erfcx", "erfinv", "j0", "j1", "jn", "y0", "y1", "yn"]},
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "cbrt": np.cbrt,
    "copysign": np.copysign,
    "cospi": lambda x: np.cos(np.pi * np.fmod(x, 2)),
    "sinpi": lambda x: np.sin(np.pi * np.fmod(x, 2)),
    "cyl_bessel_i0": _special("i0"),
    "cyl_bessel_i1": _special("i1"),
    "exp10": lambda x: np.power(10.0, x),
    "fast_exp10": lambda x: np.power(10.0, x),
    "fast_pow": np.power,
    "fast_fdivide": np.divide,
    "fdim": lambda x, y: np.where(np.isnan(x) | np.isnan(y), np.nan, np.where(x > y, x - y, 0)),
    "finite": np.isfinite,
    "isfinited": np.isfinite,
    "isinf": np.isinf,
    "isnan": np.isnan,
    "fma": lambda x, y, z: x * y + z,
    "ilogb": lambda x: np.frexp(x)[1] - 1,
    "logb": lambda x: np.where(x == 0, -np.inf, np.where(np.isinf(x), np.inf, np.frexp(x)[1] - 1.0)),
    "lgamma": _special("gammaln"),
    "tgamma": _special("gamma"),
    "llrint": np.rint,
    "llround": _round,
    "nearbyint": np.rint,
    "norm3d": _norm,
    "norm4d": _norm,
    "rnorm3d": lambda *x: 1 / _norm(*x),
    "rnorm4d": lambda *x: 1 / _norm(*x),
    "normcdf": _special("ndtr"),
    "normcdfinv": _special("ndtri"),
    "pow": np.power,
    "powi": np.power,
    "rcbrt": lambda x: 1 / np.cbrt(x),
    "remainder": lambda x, y: x - np.rint(x / y) * y,
    "rhypot": lambda x, y: 1 / np.hypot(x, y),
    "round": _round,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "saturate": lambda x: np.where(np.isnan(x), 0, np.clip(x, 0, 1)),
    "scalbn": np.ldexp,
    "signbit": np.signbit,
    # To the nearest: float64 holds sums and products of float32 exactly, or rounds where it makes no difference.
    "add_rn": np.add,
    "sub_rn": np.subtract,
    "mul_rn": np.multiply,
    "div_rn": np.divide,
    "sqrt_rn": np.sqrt,
    "rsqrt_rn": lambda x: 1 / np.sqrt(x),
    "rcp_rn": lambda x: 1 / x,
    "fma_rn": lambda x, y, z: x * y + z,
}

INTEGERS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "llabs": np.abs,
    "popc": lambda x: np.bitwise_count(x.view(f"u{x.itemsize}")),
    "popcll": lambda x: np.bitwise_count(x.view(f"u{x.itemsize}")),
    "mulhi": lambda x, y: (x.astype(np.int64) * y.astype(np.int64)) >> 32,
    "umulhi": lambda x, y: (x.astype(np.uint64) * y.astype(np.uint64)) >> np.uint64(32),
    "hadd": lambda x, y: (x.astype(np.int64) + y) >> 1,
    "rhadd": lambda x, y: (x.astype(np.int64) + y + 1) >> 1,
    "float_as_int": lambda x: x.view(np.int32),
    "float_as_uint": lambda x: x.view(np.uint32),
    "int_as_float": lambda x: x.view(np.float32),
    "uint_as_float": lambda x: x.view(np.float32),
    "double_as_longlong": lambda x: x.view(np.int64),
    "longlong_as_double": lambda x: x.view(np.float64),
}

CONVERSION = re.compile(r"(u?int|u?ll|float|double)2(u?int|u?ll|float|double)_(rn|rz|rd|ru)")
ROUND: dict[str, Callable[..., Any]] = {"rn": np.rint, "rz": np.trunc, "rd": np.floor, "ru": np.ceil}


def compute(symbol: str, arguments: list[Array], result: np.dtype[Any]) -> Array:
    """A libdevice function of these arguments.

    Args:
        symbol: ``__nv_asinf``.
        result: NumPy type of the outcome.

    Raises:
        NotImplementedError: It is none of those listed here.
    """
    name = symbol.removeprefix("__nv_")
    with np.errstate(all="ignore"):
        if name in INTEGERS:
            return np.asarray(INTEGERS[name](*arguments)).astype(result)
        if match := CONVERSION.fullmatch(name):
            rounding = match[3]
            if result.kind == "f":
                if rounding != "rn":
                    raise NotImplementedError(f"libdevice's {name} rounds in a way that is not computed here")
                return arguments[0].astype(result)
            limits = np.iinfo(result)
            whole = np.nan_to_num(ROUND[rounding](arguments[0].astype(np.float64)), nan=0.0)
            exact = np.clip(whole, float(limits.min), float(limits.max))
            return np.where(whole >= float(limits.max), limits.max, exact.astype(result)).astype(result)
        for known in (name, name.removesuffix("f"), re.sub(r"^[fd](?=(add|sub|mul|div|sqrt|rsqrt|rcp)_)", "", name)):
            base = "fma_rn" if known == "fmaf_rn" else known
            if base in FLOATS:
                wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arguments]
                return np.asarray(FLOATS[base](*wide)).astype(result)
    raise NotImplementedError(f"libdevice's {name} is not computed here")


def create_extern_elementwise(
    self: Any, library: str, path: str, symbol: str, arguments: list[Any], kind: Any, pure: bool
) -> Any:
    """In place of the interpreter's builder method, which refuses every external function."""
    if not symbol.startswith("__nv_"):
        raise NotImplementedError(f"external function {symbol}")
    element = kind.scalar
    found = compute(symbol, [a.data for a in arguments], interpreter._get_np_dtype(element))
    return interpreter.TensorHandle(found, element)


def _of_interpreter(function: Any, name: str) -> Callable[..., Any]:
    def call(*arguments: Any, _semantic: Any = None, **named: Any) -> Any:
        return function(*arguments, **named, _semantic=interpreter.interpreter_semantic)

    call.__name__ = name
    return call


def _replacements() -> dict[tuple[str, str], Callable[..., Any]]:
    """By module and name of a function of `tl.extra`: what calls it with the interpreter's builder."""
    cuda = {n: m for n, m in sys.modules.items() if n.startswith(f"{EXTRA}.cuda")}
    found: dict[tuple[str, str], Callable[..., Any]] = {}
    for module, content in cuda.items():
        for name, member in inspect.getmembers(content, inspect.isfunction):
            if core.is_builtin(member):
                found[member.__module__, name] = found[module, name] = _of_interpreter(member, name)
    for name, member in inspect.getmembers(generic, inspect.isfunction):
        if (real := found.get((f"{EXTRA}.cuda.libdevice", name))) is not None:
            found[member.__module__, name] = real
    return found


EXTRA = "triton.language.extra"
REPLACEMENTS = _replacements()


def install(scope: dict[str, Any]) -> None:
    """Give these globals of a kernel the functions that run here, for those of `tl.extra` that it imported by name."""
    for name, value in list(scope.items()):
        # Not by identity: `tl.extra.cuda` is loaded twice.
        if inspect.isfunction(value) and (found := REPLACEMENTS.get((value.__module__, value.__name__))) is not None:
            scope[name] = found


def install_everywhere() -> None:
    """The same for the modules themselves, whose functions kernels take as attributes."""
    waiting: list[ModuleType] = [m for n, m in list(sys.modules.items()) if n.startswith(EXTRA)]
    seen: set[int] = set()
    while waiting:
        module = waiting.pop()
        if id(module) not in seen:
            seen.add(id(module))
            install(vars(module))
            inner = [m for m in vars(module).values() if isinstance(m, ModuleType)]
            waiting += [m for m in inner if m.__name__.startswith(f"{EXTRA}.")]
