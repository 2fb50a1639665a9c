# SPDX-License-Identifier: Apache-2.0
"""The commands that run an artifact: `run`, `validate`, `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aotfactory.cli import plans
from aotfactory.cli.options import (
    Artifact,
    Executor,
    LeanOption,
    RootOption,
    Shapes,
    Tools,
    TrtexecOption,
    is_plan,
    shapes_by_name,
)
from aotfactory.cli.terminal import Format, print_json, show
from aotfactory.core.errors import ExecutorError, OptionsError, OptionValueError

if TYPE_CHECKING:
    from aotfactory.core.network import Shape

Plugins = Annotated[list[str], typer.Option("--plugins", metavar="PATH[:FUNC]", help="A module with recipes.")]


Tactic = Annotated[int | None, typer.Option("--tactic", metavar="N", help="Only this tactic.")]


FormatOption = Annotated[Format, typer.Option("--format", help="JSON goes to stdout, everything else to stderr.")]


def run(
    path: Artifact,
    input: Annotated[list[str], typer.Option("--input", metavar="NAME=FILE.npy", help="Data of an input.")] = [],  # noqa: B006
    shape: Shapes = [],  # noqa: B006
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", metavar="DIR", help="Where the outputs go, as NAME.npy.")
    ] = None,
    tactic: Tactic = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed for the random data.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Evaluate shapes and launches; needs no GPU.")] = False,
    executor: Annotated[
        Executor | None,
        typer.Option("--executor", metavar="NAME", help="For a bundle launcher; for a plan runner or trtexec."),
    ] = None,
    trtexec: TrtexecOption = None,
    tensorrt_root: RootOption = None,
    lean: LeanOption = False,
    format: FormatOption = Format.text,
) -> None:
    """Run a bundle or plan on the GPU with a C++ program; a bundle needs only the CUDA driver, a plan TensorRT.

    Example: aotfactory run engines/circ_pad.aot --input x=x.npy --output-dir out
    """
    tools = Tools(trtexec=trtexec, root=tensorrt_root, lean=lean)
    inputs = {name: Path(file) for name, file in _pairs(input, "--input").items()}
    if is_plan(path):
        _refuse_launches(tactic, dry_run)
        by = executor.value if executor else "runner"
        right = plans.run(path, by, tools, inputs=inputs, shapes=shape, output_dir=output_dir, seed=seed, format=format)
        raise typer.Exit(0 if right else 1)
    from aotfactory.compiler.bundle import require_bundle
    from aotfactory.executors.native.launcher import run_launcher

    tools.require_none()
    if executor is not None and executor is not Executor.launcher:
        raise ExecutorError(f"executor {executor.value} does not run a bundle on the GPU", hint="use launcher")
    require_bundle(path)
    result = run_launcher(
        path,
        inputs=inputs,
        shapes=_shapes(path, shape),
        output_dir=output_dir,
        tactic=tactic,
        seed=seed,
        dry_run=dry_run,
        check=False,
    )
    if format is Format.json:
        print_json(result.to_json())
    else:
        from aotfactory.cli.tables.runs import print_run

        show(lambda console: print_run(console, result))
    raise typer.Exit(0 if result.passed else 1)


def bench(
    path: Artifact,
    shape: Shapes = [],  # noqa: B006
    tactic: Tactic = None,
    iterations: Annotated[
        int, typer.Option("--iterations", min=1, metavar="N", help="Samples; the median counts.")
    ] = 50,
    tensorrt_root: RootOption = None,
    lean: LeanOption = False,
    format: FormatOption = Format.text,
) -> None:
    """Time every tactic of a bundle on the GPU, against a device copy of as many bytes in the same run; or a plan.

    Example: aotfactory bench engines/circ_pad.aot
    """
    tools = Tools(root=tensorrt_root, lean=lean)
    if is_plan(path):
        _refuse_launches(tactic)
        plans.bench(path, tools, shapes=shape, iterations=iterations, format=format)
        return
    from aotfactory.compiler.bundle import require_bundle
    from aotfactory.executors.native.launcher import run_launcher
    from aotfactory.executors.native.program import Timing

    tools.require_none()
    require_bundle(path)
    timing = Timing(iterations=iterations, input_sets=0, graph=True, copy_baseline=True)
    wanted: Any = "all" if tactic is None else tactic
    result = run_launcher(path, shapes=_shapes(path, shape), tactic=wanted, timing=timing, save_outputs=False)
    if format is Format.json:
        print_json(result.to_json())
    else:
        from aotfactory.cli.tables.runs import print_bench

        show(lambda console: print_bench(console, result))


def _refuse_launches(tactic: int | None, dry_run: bool = False) -> None:
    """A plan's launches are TensorRT's own affair."""
    if tactic is not None:
        raise OptionsError(
            "--tactic is for bundles: a plan has the tactics that TensorRT chose", hint="aotfactory bake --tactic"
        )
    if dry_run:
        raise OptionsError("--dry-run is for bundles: TensorRT launches a plan's kernels", hint="run its bundle")


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise OptionValueError(f"{option} {text!r} does not say which input", hint=f"write {option} NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)


def _shapes(path: Path, texts: list[str]) -> dict[str, Shape]:
    from aotfactory.compiler import bundle

    return shapes_by_name(path, (t.name for t in bundle.read(path).network.inputs), texts)
