# SPDX-License-Identifier: Apache-2.0
"""The Python API: the verbs as functions of the package, and what authors import from it."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from commands import Run
from small_definitions import SOURCE, Definitions

import aotfactory
from aotfactory.api import verbs
from aotfactory.cli.flags import CompileFlags
from aotfactory.executors.inputs import Array
from aotfactory.executors.native.runner import RunnerOptions
from aotfactory.executors.trtexec.command import TrtexecOptions

LATE = {"Array": Array, "RunnerOptions": RunnerOptions, "TrtexecOptions": TrtexecOptions}
"""Names that `verbs` has for type checkers alone."""


def test_build_gives_what_the_json_has(tmp_path: Path) -> None:
    built = aotfactory.build("circ_pad", shape=(1, 3, 16, 16), dtype="fp16", arch="sm_90", out=tmp_path)
    manifest = json.loads((tmp_path / "circ_pad.aot" / "manifest.json").read_bytes())
    assert built.path == tmp_path / "circ_pad.aot"
    assert [v.id for v in built.bundle.variants] == [v["id"] for v in manifest["variants"]]
    assert manifest["tensors"][0]["dtype"] == "fp16"
    assert built.checks
    assert not built.failed
    assert built.baked is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        built.path = None  # type: ignore[misc]


@pytest.mark.parametrize("shape", ["1x3x16x16", (1, 3, 16, 16), {"x": "1x3x16x16"}, {"x": [1, 3, 16, 16]}])
def test_a_shape_may_be_text_or_numbers_by_name_or_bare(shape: object, tmp_path: Path) -> None:
    built = aotfactory.compile("circ_pad", shape=shape, tactic=1, arch="sm_80", out=str(tmp_path))  # type: ignore[arg-type]
    assert [int(str(d)) for d in built.bundle.network.tensor("x").shape] == [1, 3, 16, 16]


def test_validate(tmp_path: Path) -> None:
    path = aotfactory.compile("circ_pad", shape="1x2x3x5", tactic=1, arch="sm_80", out=tmp_path).path
    assert path is not None
    result = aotfactory.validate(path, executors=["interpreter"])
    assert {check.status for check in result.checks} == {"passed"}
    assert not result.failed


def printed(run: Run, *arguments: object) -> Any:
    """The JSON that a command prints."""
    return json.loads(run(*map(str, arguments), "--format", "json").out)


class TestJson:
    """A command prints what the function of the same name gives; the options of both mean the same."""

    @pytest.mark.parametrize("verb", ["build", "compile"])
    def test_of_a_build(self, verb: str, tmp_path: Path, run: Run) -> None:
        options = ["--min-shape", "1x8x8", "--max-shape", "4x8x8", "--arch", "sm_80,portable"]
        definitions = Definitions(tmp_path, SOURCE)
        told = printed(run, verb, definitions.id, "--plugins", definitions.path, "--attr", "scale=3", "--tactic", 0,
                       *options, "--skip-check", "bounds", "--because", "why", "--check-time", 5,
                       "--out", tmp_path / "e", "--name", "mine")  # fmt: skip
        made = getattr(aotfactory, verb)(
            definitions.id,
            plugins=[str(definitions.path)],
            attributes={"scale": 3},
            tactic=0,
            min_shape=(1, 8, 8),
            max_shape="4x8x8",
            arch="sm_80,portable",
            skip_checks={"bounds": "why"},
            check_time=5,
            out=tmp_path / "e",
            name="mine",
        )
        assert told == json.loads(json.dumps(made.to_json()))
        assert told["skipped_checks"] == {"bounds": "why"}
        assert len(told["variants"]) == 2

    def test_every_option_of_a_build_is_a_parameter(self) -> None:
        """Under the same name, or as Python says it."""
        otherwise = {"attr": "attributes", "no_cache": "cache", "skip_check": "skip_checks", "because": "skip_checks"}
        options = {field.name for field in dataclasses.fields(CompileFlags)} - {"output"}  # --out and --name in one
        taken = set(inspect.signature(aotfactory.compile).parameters)
        assert {otherwise.get(name, name) for name in options} <= taken

    def test_of_named_dimensions(self, tmp_path: Path, run: Run) -> None:
        options = ["--dim", "B=1:4:9", "--dtype", "fp16", "--arch", "sm_90"]
        without = ["--skip-check", "interpreter", "--because", "it takes time"]
        told = printed(run, "compile", "softmax", *options, *without, "--out", tmp_path)
        made = aotfactory.compile(
            "softmax",
            dim={"B": (1, 4, 9)},
            dtype={"x": "fp16"},
            arch="sm_90",
            skip_checks={"interpreter": "it takes time"},
            out=tmp_path,
        )
        assert told == json.loads(json.dumps(made.to_json()))

    @pytest.fixture
    def bundle(self, tmp_path: Path) -> Path:
        path = aotfactory.compile("circ_pad", shape="1x2x3x5", tactic=1, arch="sm_80", out=tmp_path).path
        assert path is not None
        return path

    @pytest.mark.parametrize("executors", [["interpreter"], ["launcher"], []])
    def test_of_a_validation(self, executors: list[str], bundle: Path, run: Run) -> None:
        options = [text for name in executors for text in ("--executor", name)]
        told = printed(run, "validate", bundle, *options, "--require", "launcher")
        made = aotfactory.validate(bundle, executors=executors, require=["launcher"])
        assert told == json.loads(json.dumps(made.to_json()))
        assert told["schema"] == "aotfactory.validate/1"

    @pytest.mark.launcher
    def test_of_a_run(self, bundle: Path, run: Run) -> None:
        told = printed(run, "run", bundle, "--dry-run", "--seed", 7)
        assert told == aotfactory.run(bundle, dry_run=True, seed=7).to_json()
        assert told["seed"] == 7

    @pytest.mark.parametrize("name", ["build", "compile", "bake", "validate", "run", "tune", "library"])
    def test_every_result_has_it_and_is_frozen(self, name: str) -> None:
        from aotfactory.api.bake import Baked
        from aotfactory.api.library import PluginLibrary
        from aotfactory.api.tune import TuneResult
        from aotfactory.executors.native.launcher import LaunchResult
        from aotfactory.executors.native.runner import RunnerResult

        late = (Baked, PluginLibrary, TuneResult, LaunchResult, RunnerResult)
        verb = getattr(aotfactory, name)
        returned = get_type_hints(verb, {**vars(verbs), **{kind.__name__: kind for kind in late}, **LATE})["return"]
        for kind in get_args(returned) or (returned,):
            assert dataclasses.is_dataclass(kind)
            assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
            assert callable(kind.to_json)


def test_what_does_not_go_together(tmp_path: Path) -> None:
    for arguments in ({"model": "m.onnx"}, {"save_inputs": "in"}):
        with pytest.raises(aotfactory.UsageError):
            aotfactory.validate(tmp_path / "x.plan", **arguments)  # type: ignore[arg-type]
    with pytest.raises(aotfactory.UsageError, match="are for plans"):
        aotfactory.validate(tmp_path / "x.aot", runner=RunnerOptions())
    with pytest.raises(aotfactory.UsageError, match="for bundles"):
        aotfactory.run(tmp_path / "x.plan", dry_run=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda out: aotfactory.build("circ_pad", shape="1x-3", out=out), "'1x-3' is not a shape"),
        (lambda out: aotfactory.build("circ_pad", shape=(1, 3, -16, 16), out=out), "'1x3x-16x16' is not a shape"),
        (lambda out: aotfactory.compile("circ_pad", arch="sm_1", out=out), "unknown architecture 'sm_1'"),
        (lambda out: aotfactory.bake(out / "no.aot"), "is not a bundle"),
        (lambda out: aotfactory.validate(out / "no.plan"), "no such plan"),
        (lambda out: aotfactory.run(out / "no.aot"), "is not a bundle"),
    ],
)
def test_errors_are_of_one_family(call: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(aotfactory.AotError, match=message):
        call(tmp_path)  # type: ignore[operator]
    assert list(tmp_path.iterdir()) == []


def test_every_public_name_is_there() -> None:
    assert {"build", "compile", "bake", "validate", "run", "tune", "aot_kernel", "Recipe", "trtp"} <= set(
        aotfactory.__all__
    )
    for name in aotfactory.__all__:
        assert getattr(aotfactory, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'buidl'"):
        _ = aotfactory.buidl


def test_python_m() -> None:
    done = subprocess.run([sys.executable, "-m", "aotfactory", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: ")
    assert "build" in done.stdout
