# SPDX-License-Identifier: Apache-2.0
"""Run programs of one Triton kernel on the CPU through Triton's interpreter, watching every memory access.

Only for a process that was started with ``TRITON_INTERPRET=1``: `triton.jit` then makes interpreted functions.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import triton
import triton.language as tl
from triton.runtime import interpreter

from aotfactory.compiler.older_triton import older_calls
from aotfactory.executors.interpreter import libdevice
from aotfactory.executors.interpreter.gathers import loose_gathers
from aotfactory.executors.interpreter.inline_asm import known_instructions
from aotfactory.executors.interpreter.memory import AccessError, Buffer, Watch, watching
from aotfactory.executors.interpreter.narrow_floats import exact_arithmetic
from aotfactory.executors.interpreter.races import Races, barriers
from aotfactory.executors.interpreter.reductions import whole_reductions

__all__ = ["AccessError", "Buffer", "OutOfTime", "Program", "Unsupported", "Watch", "capturing", "run"]

Program = tuple[int, int, int]
"""A program of a grid: its place along x, y and z."""


class Unsupported(Exception):
    """Triton's interpreter cannot run a kernel."""


class OutOfTime(Exception):
    """A program was given up because the time for it was spent."""


def _remembering(of: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """NumPy's type of one of Triton's: the interpreter makes a table of all of them each time that it looks one up."""
    known: dict[str, Any] = {}

    def remembered(kind: Any) -> Any:
        if (found := known.get(kind.scalar.name)) is None:
            found = known[kind.scalar.name] = of(kind.scalar)
        return found

    return remembered


interpreter._get_np_dtype = _remembering(interpreter._get_np_dtype)


@contextmanager
def _language(fn: Any) -> Iterator[None]:
    """Triton's language in the interpreter's terms: patched once, where the interpreter does so for every call of a
    helper, which took a fifth of the time; and scalars of NumPy 2.4, arrays of one element, as bounds of loops.
    """
    originals = interpreter._patch_lang, interpreter.InterpreterBuilder.create_extern_elementwise
    scopes: dict[tuple[int, ...], Any] = {}
    seen: set[int] = set()

    def patch(function: Any) -> Any:
        variables = function.__globals__
        if id(variables) not in seen:
            seen.add(id(variables))
            libdevice.install(variables)
            languages = tuple(id(m) for m in (tl, tl.core) if any(v is m for v in variables.values()))
            if languages and languages not in scopes:
                scopes[languages] = originals[0](function)
                tl.tensor.__index__ = lambda self: int(self.handle.data.item())
            _patch_names(variables)
        return None

    interpreter._patch_lang = patch
    interpreter.InterpreterBuilder.create_extern_elementwise = libdevice.create_extern_elementwise
    try:
        patch(fn)
        yield
    finally:
        interpreter._patch_lang, interpreter.InterpreterBuilder.create_extern_elementwise = originals
        for scope in reversed(scopes.values()):
            if scope is not None:  # Triton 3.5 leaves the language patched
                scope.restore()


def _patch_names(variables: dict[str, Any]) -> None:
    """Patch functions of the language that a module knows by names of its own, as after ``my_cast = tl.cast``."""
    for name, value in list(variables.items()):
        if inspect.isfunction(value) and tl.core.is_builtin(value):
            homes = (home for home in (tl, tl.math) if callable(getattr(home, value.__name__, None)))
            variables[name] = next((getattr(home, value.__name__) for home in homes), value)


_compile = triton.compile
_captures: list[Callable[..., Any]] = []
"""The stand-ins for `triton.compile`, of which the last one counts."""


def _captured_compile(src: Any, target: Any = None, options: Any = None, *rest: Any, **more: Any) -> Any:
    if _captures:
        return _captures[-1](src, target, options)
    return _compile(src, target, options, *rest, **more)


def make_compile_capturable() -> None:
    """From now on, also for modules that keep it under a name of their own: `from triton import compile`."""
    triton.compile = triton.compiler.compile = triton.compiler.compiler.compile = _captured_compile


class _Made(dict[str, str]):
    """What Triton made of a kernel, by its kind: the PTX, and what the definitions looked at when they compiled it."""

    def __missing__(self, kind: str) -> str:
        raise Unsupported(
            f"the aot_impl looks at {kind!r} of the compiled kernel here, and did not when it was compiled"
        )


@contextmanager
def capturing(compilations: Sequence[dict[str, Any]]) -> Iterator[list[Any]]:
    """Let `triton.compile` take down its source, and answer with the metadata and PTX of the real compilations.

    Yields:
        The sources (`ASTSource`), in the order of the calls.
    """
    sources: list[Any] = []

    def record(src: Any, target: Any = None, options: Any = None) -> Any:
        recorded = compilations[min(len(sources), len(compilations) - 1)]
        src.num_ctas = int((options or {}).get("num_ctas", 1))
        src.races = Races(int(recorded["metadata"].get("num_warps", 1)), recorded["ptx"])
        sources.append(src)
        metadata = SimpleNamespace(target=target or triton.runtime.driver.active.get_current_target())
        vars(metadata).update(recorded["metadata"])
        asm = _Made(recorded.get("texts", {}), ptx=recorded["ptx"])
        digest = recorded["metadata"].get("hash", "")
        return SimpleNamespace(metadata=metadata, name=metadata.name, hash=digest, src=src, asm=asm)

    before = triton.compile, triton.compiler.compile, triton.compiler.compiler.compile
    make_compile_capturable()
    _captures.append(record)
    try:
        with older_calls():
            yield sources
    finally:
        _captures.pop()
        triton.compile, triton.compiler.compile, triton.compiler.compiler.compile = before


def run(
    source: Any,
    grid: Program,
    arguments: Sequence[Buffer | int | float],
    programs: Iterable[Program] | None = None,
    stop: Callable[[int], bool] = lambda done: False,
) -> int:
    """Run a kernel over programs of a grid, with TensorRT's arguments: input pointers, extra arguments, outputs; and
    workspaces.

    Args:
        programs: Which; None: all.
        stop: Asked after each program, with how many have run.

    Returns:
        How many programs ran.

    Raises:
        AccessError: It touched memory that it must not touch, cannot take these arguments, or an assertion of its own
            failed.
        Unsupported: The interpreter lacks something, such as inline assembly, or fails itself.
    """
    values = _bound(source, arguments)
    builder = interpreter.interpreter_builder
    # It works out for every operation on integers whether that overflows, in as much time as all else takes, and tells
    # of it only where it debugs.
    builder.options = replace(builder.options, sanitize_overflow=builder.options.debug)
    fn = source.fn.rewrite()
    done = 0
    races = getattr(source, "races", None) or Races(1)
    with (
        exact_arithmetic(),
        whole_reductions(),
        loose_gathers(),
        known_instructions(),
        watching([a for a in arguments if isinstance(a, Buffer)], races),
        barriers(races),
        _language(fn),
    ):
        builder.set_grid_dim(*grid)
        values = inspect.getcallargs(fn, **values)
        for place in every(grid) if programs is None else programs:
            builder.set_grid_idx(*place)
            races.begin()
            try:
                with np.errstate(all="ignore"):
                    fn(**values)
            except Exception as error:
                raise _blamed(error, place) from error
            done += 1
            if stop(done):
                break
    return done


def every(grid: Program) -> Iterator[Program]:
    """All programs of a grid, z fastest."""
    return ((x, y, z) for x in range(grid[0]) for y in range(grid[1]) for z in range(grid[2]))


class Wide(int):
    """An int64 argument; a plain int is an int32."""


def _bound(source: Any, arguments: Sequence[Buffer | int | float]) -> dict[str, Any]:
    """A value for every parameter of the kernel."""
    names = source.fn.arg_names
    constants = {names[path[0]]: value for path, value in source.constants.items()}
    types = {n: source.signature[n] for n in names if n in source.signature and n not in constants}
    types = {n: t for n, t in types.items() if t != "constexpr"}
    if len(types) != len(arguments):
        raise AccessError(f"takes {len(types)} arguments ({', '.join(types)}), but TensorRT passes {len(arguments)}")
    values: dict[str, Any] = dict(constants)
    for (name, kind), argument in zip(types.items(), arguments, strict=True):
        if isinstance(argument, Buffer) != kind.startswith("*"):
            passed = "a pointer" if isinstance(argument, Buffer) else "a number"
            raise AccessError(f"declares {name} as {kind}, but TensorRT passes {passed}")
        if type(argument) is int and not -(2**31) <= argument < 2**31:
            raise AccessError(f"{name} is {argument}, which int32 does not hold")
        values[name] = _tensor(kind, argument)
    return values


TRITON = Path(triton.__file__).parent

ASSERTIONS = ("create_assert", "create_assume", "_new_static_assert", "asserted")
"""Functions that raise for a kernel's own assertions."""


def _blamed(error: Exception, program: Program) -> Exception:
    """Whose error it is. The kernel has been compiled, so all but its accesses and assertions is the interpreter's."""
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, AccessError | OutOfTime):
        cause = cause.__cause__
    if isinstance(cause, AccessError | OutOfTime):
        return cause
    frames = traceback.extract_tb(cause.__traceback__)
    if isinstance(cause, AssertionError) and frames and frames[-1].name in ASSERTIONS:
        return AccessError(f"an assertion fails in program {program}: {cause}{_place(frames)}")
    said = str(cause) or type(cause).__name__
    if isinstance(cause, NotImplementedError):
        return Unsupported(f"Triton's interpreter cannot run the kernel: {said}")
    return Unsupported(
        f"Triton's interpreter fails on a kernel that compiles: {type(cause).__name__}: {said}{_place(frames)}"
    )


def _place(frames: traceback.StackSummary) -> str:
    """Where in the user's own files it happened."""
    others = (TRITON, Path(__file__).parent, Path(np.__file__).parent)
    own = [f for f in frames if not any(folder in Path(f.filename).parents for folder in others)]
    own = [f for f in own if not f.filename.startswith("<")]
    return f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def _tensor(kind: str, argument: Buffer | int | float) -> Any:
    element = tl.str_to_ty(kind, None)
    if isinstance(argument, Buffer):
        data = np.array([argument.address], np.uint64)
    else:
        types = {int: np.int32, Wide: np.int64, float: np.float32}
        data = np.array([argument], types[type(argument)])
    return tl.tensor(interpreter.TensorHandle(data, element), element)
