# SPDX-License-Identifier: Apache-2.0
"""Which TensorRT this process uses: the full one, or the compile-only one. Nothing else in the project decides that.

Compile-only TensorRT is NVIDIA's own Python bindings over NVIDIA's lean runtime, both from PyPI, with link-time stubs
in place of the builder and the ONNX parser. Plugin definitions register and run; a builder there is none.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import importlib
import importlib.util
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn

from aotfactory.core.cuda import cuda_device_count
from aotfactory.core.errors import NoGpuError, NoTensorRTError, SettingError, TensorRTVersionError
from aotfactory.core.extras import install_command
from aotfactory.plugins.stubs import LIBRARIES, load_stubs, soname

FULL_COMMAND = install_command("tensorrt")


COMPILE_ONLY_COMMAND = 'pip install "tensorrt-cu13-bindings==11.4.*" "tensorrt-lean-cu13-libs==11.4.*"'


_lock = threading.RLock()


_loaded: TensorRT | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorRT:
    """The TensorRT of this process.

    Attributes:
        kind: ``full``, or ``compile-only``, which has no builder and no ONNX parser.
        version: The version of the bindings, such as ``11.4.0.106``.
        trt: The module ``tensorrt``.
        trtp: The module ``tensorrt.plugin``.
        reason: Why the full TensorRT is not used; empty when it is.
    """

    kind: Literal["full", "compile-only"]
    version: str
    trt: Any
    trtp: Any
    reason: str = ""


def load() -> TensorRT:
    """Load TensorRT, once. After this ``import tensorrt`` and ``import tensorrt.plugin`` work everywhere.

    The environment variable ``AOTFACTORY_TENSORRT`` forces a kind: ``full``, ``compile-only``, or ``auto`` (default).

    Raises:
        MissingError: This machine has neither, or not the one asked for, or the parts do not fit together.
        UsageError: ``AOTFACTORY_TENSORRT`` has some other value.
    """
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = _load(os.environ.get("AOTFACTORY_TENSORRT") or "auto")
        return _loaded


def require_builder() -> TensorRT:
    """The full TensorRT.

    Raises:
        MissingError: Only the compile-only TensorRT is here, or none.
    """
    tensorrt = load()
    if tensorrt.kind != "full":
        _no_builder(tensorrt.reason)
    return tensorrt


def _no_builder(reason: str) -> NoReturn:
    raise NoTensorRTError(
        f"TensorRT's builder is not on this machine, only the compile-only TensorRT ({reason})",
        hint=f"{FULL_COMMAND}, on a machine with an NVIDIA GPU, or use NVIDIA's container, tar or Debian packages",
    )


def _load(choice: str) -> TensorRT:
    if choice not in ("auto", "full", "compile-only"):
        raise SettingError(f"AOTFACTORY_TENSORRT is {choice!r}", hint="set it to auto, full or compile-only")
    reason = "AOTFACTORY_TENSORRT=compile-only"
    if choice != "compile-only":
        outcome = _load_full()
        if isinstance(outcome, TensorRT):
            return outcome
        reason = outcome
        if choice == "full":
            raise NoTensorRTError(f"the full TensorRT is not on this machine: {reason}", hint=FULL_COMMAND)
    return _load_compile_only(reason)


def _load_full() -> TensorRT | str:
    """The full TensorRT, or why it can't be had."""
    known = set(sys.modules)
    try:
        trt = importlib.import_module("tensorrt")
        trtp = _without_notice(trt, lambda: importlib.import_module("tensorrt.plugin"))
    except Exception as error:  # a broken installation may raise anything; which one matters to the user only
        for name in set(sys.modules) - known:
            if name.split(".")[0] in ("tensorrt", "tensorrt_bindings", "tensorrt_libs"):
                del sys.modules[name]
        if not (isinstance(error, ModuleNotFoundError) and error.name == "tensorrt"):
            return f"import tensorrt: {type(error).__name__}: {error}"
        reason = _open_full_libraries()
        if reason:
            return f"no package named tensorrt, {reason}"
        trt, trtp = _import_bindings()
    if not hasattr(trtp, "aot_impl"):
        raise TensorRTVersionError(
            f"TensorRT {trt.__version__} has no ahead-of-time plugins, they came with 10.9", hint=FULL_COMMAND
        )
    return TensorRT(kind="full", version=trt.__version__, trt=trt, trtp=trtp)


def _open_full_libraries() -> str:
    """Open the libraries of NVIDIA's tar or Debian packages for the bindings from PyPI; return what is wrong, if so."""
    bindings = _package_directory("tensorrt_bindings")
    if bindings is None:
        return "nor tensorrt_bindings"
    major = _linked_major(bindings)
    try:
        if importlib.util.find_spec("tensorrt_libs"):
            importlib.import_module("tensorrt_libs")
        # The parser first: where it is missing, the others stay closed and can't be mistaken for the stubs later.
        libraries = [ctypes.CDLL(soname(library, major)) for library in reversed(LIBRARIES)]
    except OSError as error:
        return f"and {error}"
    _same_version(bindings, libraries[-1], soname("nvinfer", major))
    return ""


def _load_compile_only(reason: str) -> TensorRT:
    bindings, lean = _package_directory("tensorrt_bindings"), _package_directory("tensorrt_lean_libs")
    if bindings is None or lean is None:
        absent = "bindings" if bindings is None else "lean runtime"
        raise NoTensorRTError(
            f"this machine has no TensorRT: not the full one ({reason}), and of the compile-only one the {absent} "
            "is missing",
            hint=f"{COMPILE_ONLY_COMMAND}, or for the full TensorRT {FULL_COMMAND}",
        )
    major = _linked_major(bindings)
    library = lean / soname("nvinfer_lean", major)
    if not library.is_file():
        found = ", ".join(sorted(path.name for path in lean.glob("libnvinfer_lean.so*"))) or "nothing"
        _mismatch(bindings, f"the lean runtime here is {found}, not {library.name}")
    # Global, so that the bindings find the lean runtime's functions before the stubs' functions of the same name.
    runtime = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    _same_version(bindings, runtime, library.name)
    load_stubs(major)
    try:
        trt, trtp = _import_bindings(hide="tensorrt_libs")
    except ImportError as error:
        raise TensorRTVersionError(
            f"TensorRT's bindings {_stated_version(bindings)} do not load over the lean runtime: {error}",
            hint=COMPILE_ONLY_COMMAND,
        ) from error
    _guard_constructors(trt, reason)
    return TensorRT(kind="compile-only", version=trt.__version__, trt=trt, trtp=trtp, reason=reason)


def _guard_constructors(trt: Any, reason: str) -> None:
    """Have the two constructors that can't work here say so.

    Without a driver the lean runtime's factory returns a pointer that is neither null nor valid, and the bindings
    crash on it. A missing builder comes out as "factory function returned nullptr", which helps nobody.
    """
    runtime_init = trt.Runtime.__init__

    @functools.wraps(trt.Builder.__init__)
    def init_builder(self: Any, *args: Any, **kwargs: Any) -> None:
        _no_builder(reason)

    @functools.wraps(runtime_init)
    def init_runtime(self: Any, *args: Any, **kwargs: Any) -> None:
        if cuda_device_count() == 0:
            raise NoGpuError("TensorRT's runtime needs a GPU and its driver, this machine has none")
        runtime_init(self, *args, **kwargs)

    trt.Builder.__init__ = init_builder
    trt.Runtime.__init__ = init_runtime


def _import_bindings(hide: str = "") -> tuple[Any, Any]:
    """Import ``tensorrt_bindings`` and give it, module object by module object, the name ``tensorrt`` as well.

    Args:
        hide: A package that must not be imported meanwhile: the bindings import ``tensorrt_libs`` if they find it.
    """
    kept = sys.modules.get(hide)
    if hide:
        sys.modules[hide] = None  # type: ignore[assignment]  # import then raises ModuleNotFoundError
    try:
        trt = importlib.import_module("tensorrt_bindings")
        sys.modules["tensorrt"] = trt  # tensorrt_bindings.plugin imports tensorrt
        trtp = _without_notice(trt, lambda: importlib.import_module("tensorrt_bindings.plugin"))
    except BaseException:
        sys.modules.pop("tensorrt", None)
        raise
    finally:
        if hide:
            del sys.modules[hide]
            if kept is not None:
                sys.modules[hide] = kept
    # The package has imported all of its submodules by now, so no second copy of one can come into being.
    for name, module in list(sys.modules.items()):
        if name.startswith("tensorrt_bindings."):
            sys.modules["tensorrt." + name.partition(".")[2]] = module
    return trt, trtp


def _without_notice(trt: Any, action: Callable[[], Any]) -> Any:
    """Do something without the warning that tensorrt.plugin logs on import: that it is experimental."""
    logger = trt.Logger

    class ErrorsOnly(logger):  # type: ignore[misc, valid-type]  # the base class is only known at run time
        def __init__(self) -> None:
            super().__init__(logger.ERROR)

    trt.Logger = ErrorsOnly
    try:
        return action()
    finally:
        trt.Logger = logger


def _package_directory(name: str) -> Path | None:
    """Where a package is installed, without importing it."""
    spec = importlib.util.find_spec(name)
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None


def _linked_major(bindings: Path) -> int:
    """The major version in the SONAME of libnvinfer that the bindings were linked against."""
    for extension in bindings.glob("tensorrt*.so"):
        if found := re.search(rb"\0libnvinfer\.so\.(\d+)\0", extension.read_bytes()):
            return int(found[1])
    raise NoTensorRTError(f"no extension module linked against libnvinfer in {bindings}", hint=COMPILE_ONLY_COMMAND)


def _stated_version(bindings: Path) -> str:
    found = re.search(r"""^__version__ = ["']([\d.]+)""", (bindings / "__init__.py").read_text("utf-8"), re.MULTILINE)
    return found[1] if found else "(version unknown)"


def _same_version(bindings: Path, library: ctypes.CDLL, name: str) -> None:
    """Refuse bindings and a library of different versions: the classes they share differ, so calls would go astray."""
    number = library.getInferLibVersion()
    # 10000 * major + 100 * minor + patch since 10.0.
    version = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    if _stated_version(bindings).split(".")[:3] != version.split("."):
        _mismatch(bindings, f"{name} is {version}")


def _mismatch(bindings: Path, other: str) -> NoReturn:
    version = _stated_version(bindings)
    minor = ".".join(version.split(".")[:2])
    raise TensorRTVersionError(
        f"TensorRT's parts are of different versions: the bindings are {version}, {other}",
        where=str(bindings),
        hint=f'pip install "tensorrt-cu13-bindings=={minor}.*" "tensorrt-lean-cu13-libs=={minor}.*"',
    )
