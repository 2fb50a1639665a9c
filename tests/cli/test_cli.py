# SPDX-License-Identifier: Apache-2.0
"""The command line as scripts and people meet it: exit codes, streams, JSON, tables, interruption."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import Run
from small_definitions import SOURCE, Definitions, changed

from aotfactory.api import bake
from aotfactory.cli import main as cli
from aotfactory.cli import terminal
from aotfactory.core import cuda
from aotfactory.plugins import tensorrt_api
from aotfactory.targets.request import TargetOptions

# A job that a shell runs in the background has SIGINT ignored, and so have its children.
HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
COMMAND = [sys.executable, "-c", f"{HEED}; from aotfactory.cli.main import main; main()"]


LEFT_OUT = "--opt-shape ... is left out: TensorRT chooses tactics at --max-shape, 8x64\n"
NO_PLAN = "no plan was made: it takes TensorRT's builder and a GPU (aotfactory bake)\n"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Definitions:
    """Definitions that compile in no time, in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return Definitions(tmp_path)


def build(copy: Definitions, *more: str, command: str = "build") -> list[str]:
    return [command, copy.id, "--plugins", str(copy.path), "--attr", "scale=1", "--arch", "sm_80,portable", *more]


class TestBuild:
    def test_text(self, run: Run, copy: Definitions) -> None:
        done = run(*build(copy, "--min-shape", "1x64", "--max-shape", "8x64"))
        assert (done.code, done.err) == (
            0,
            LEFT_OUT + NO_PLAN,
        )
        assert f"copy: y = {copy.id}(inp0, scale=1)\n" in done.out
        assert re.search(r"sm_80 +fp32-fp32 +0 +1 to 8 +64 +\d+ +7\.0 sm_80 +ok \(3 of 4\)\n", done.out)
        assert "inp0_0: min 1, opt 8, max 8\n" in done.out
        assert "grid_x: cdiv(inp0_0*64, 64)\n" in done.out
        assert "interpreter skipped: not a Triton kernel\n" in done.out
        assert done.out.endswith("checks passed: abi, ptxas, bounds\nwrote engines/copy.aot\n")
        assert max(map(len, done.out.splitlines())) <= 80

    def test_json(self, run: Run, copy: Definitions) -> None:
        done = run(*build(copy, "--min-shape", "1x64", "--max-shape", "8x64", "--format", "json"))
        report = json.loads(done.out)
        assert done.code == 0
        assert list(report) == ["schema", "target", "engine", "bundle", "variants", "checks"]
        assert (report["schema"], report["target"]) == ("aotfactory.build/1", copy.id)
        assert report["engine"] == {"kind": "bundle", **report["bundle"]}
        assert report["bundle"]["path"] == "engines/copy.aot"
        assert [v["arch"] for v in report["variants"]] == ["sm_80", "portable"]
        variant = report["variants"][0]
        assert (variant["plugin"], variant["call"], variant["tactic"]) == (copy.id, "copy", 0)
        assert (variant["dtypes"], variant["formats"]) == (["fp32", "fp32"], ["linear", "linear"])
        assert variant["parameters"] == ["ptr", "i32", "ptr"]
        assert variant["launch"]["grid_x"] == "cdiv(inp0_0*64, 64)"
        assert variant["extra_args"] == ["inp0_0*64"]
        assert variant["launch_at"] == {
            point: {"grid": [n, 1, 1], "block": [64, 1, 1], "shared_mem": 0, "extra_args": [n * 64]}
            for point, n in (("min", 1), ("opt", 8), ("max", 8))
        }
        ptx = Path("engines/copy.aot", variant["ptx"])
        assert ptx.stat().st_size == variant["ptx_bytes"]
        outcomes = {(c["name"], c["status"], c["detail"] != "") for c in report["checks"]}
        assert outcomes == {("abi", "passed", True), ("ptxas", "passed", True), ("bounds", "passed", True),
                            ("interpreter", "skipped", True)}  # fmt: skip

    def test_compile_is_silent_on_stderr(self, run: Run, copy: Definitions) -> None:
        done = run(*build(copy, "--shape", "1x64", command="compile"))
        assert (done.code, done.err) == (0, "")

    def test_a_failed_check(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        wrong = Definitions(tmp_path, changed("block_x=64", "block_x=32"))
        done = run(*build(wrong, "--shape", "1x64"))
        assert (done.code, done.err) == (1, "")
        assert "skipped" not in done.out
        assert re.search(r"^abi failed: copy\.sm_80\.fp32-fp32\.t0: .*64.*32", done.out, re.MULTILINE)
        assert done.out.endswith("nothing was written: a check failed\n")
        assert not Path("engines").exists()
        done = run(*build(wrong, "--shape", "1x64", "--format", "json"))
        report = json.loads(done.out)
        assert (done.code, report["bundle"]) == (1, {"path": None, "sha256": None})
        assert {c["status"] for c in report["checks"] if c["name"] == "abi"} == {"failed"}

    def test_what_definitions_print_is_not_in_the_result(self, run: Run, tmp_path: Path) -> None:
        noisy = Definitions(tmp_path, f"print('hello from the module')\n{SOURCE}")
        done = run(*build(noisy, "--shape", "1x64", "--format", "json", "--out", str(tmp_path)))
        assert json.loads(done.out)["schema"] == "aotfactory.build/1"
        assert "hello from the module" in done.err

    def test_out(self, run: Run, copy: Definitions) -> None:
        assert run(*build(copy, "--shape", "1x64", "--out", "some/where")).code == 0
        assert Path("some/where/copy.aot/manifest.json").is_file()

    def test_a_plan_is_an_error_without_the_builder(self, run: Run) -> None:
        if tensorrt_api.load().kind == "full":
            pytest.skip("the full TensorRT is here")
        done = run("build", "circ_pad", "--engine", "tensorrt")
        assert (done.code, done.out) == (3, "")
        assert "TensorRT's builder is not on this machine" in done.err

    def test_a_plan_is_an_error_without_a_gpu(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tensorrt_api, "require_builder", lambda: None)
        monkeypatch.setattr(cuda, "cuda_device_count", lambda: 0)
        done = run("build", "circ_pad", "--engine", "tensorrt")
        assert (done.code, done.out) == (3, "")
        assert "a plan is built on a GPU, and this machine has none" in done.err

    @pytest.mark.parametrize("engine", ["auto", "tensorrt"])
    def test_the_plan_where_it_can_be_made(
        self, run: Run, copy: Definitions, monkeypatch: pytest.MonkeyPatch, engine: str
    ) -> None:
        made: list[tuple[Path, int, TargetOptions]] = []

        def plan_for(path: Path, archs: int, shapes: TargetOptions, *rest: object) -> SimpleNamespace:
            made.append((path, archs, shapes))
            plan = SimpleNamespace(kernels=[], messages=["[a warning]"], sha256="ab12")
            return SimpleNamespace(path=Path("engines/copy.plan"), plan=plan)

        monkeypatch.setattr(bake, "require_bake", lambda: None)
        monkeypatch.setattr(bake, "plan_for", plan_for)
        monkeypatch.setattr(cuda, "cuda_device_count", lambda: 1)
        done = run(*build(copy, "--shape", "1x64", "--engine", engine))
        assert (done.code, done.err) == (0, "")
        assert "wrote engines/copy.aot\n" in done.out
        assert "[a warning]" in done.out
        assert done.out.endswith("wrote engines/copy.plan\n")
        report = json.loads(run(*build(copy, "--shape", "1x64", "--engine", engine, "--format", "json")).out)
        assert report["engine"] == {"kind": "plan", "path": "engines/copy.plan", "sha256": "ab12"}
        assert report["bundle"]["path"] == "engines/copy.aot"
        assert made == [(Path("engines/copy.aot"), 2, TargetOptions(shape={None: (1, 64)}))] * 2

    def test_no_plan_where_none_is_asked_for(
        self, run: Run, copy: Definitions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bake, "plan_for", pytest.fail)
        done = run(*build(copy, "--shape", "1x64", "--engine", "bundle"))
        assert (done.code, done.err) == (0, "")


class TestOtherCommands:
    def test_list(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        done = run("list")
        assert done.code == 0
        assert re.search(r"^circ_pad  circular padding", done.out, re.MULTILINE)
        assert "    aotfactory::circ_pad; x 1x3x32x32; fp32 fp16 bf16 int8 int32; pads=1,1,1,1\n" in done.out

    def test_list_json(self, run: Run) -> None:
        report = json.loads(run("list", "--format", "json").out)
        found = {recipe["name"]: recipe for recipe in report["recipes"]}
        assert report["schema"] == "aotfactory.list/1"
        assert found["circ_pad"]["inputs"] == [{"name": "x", "shape": [1, 3, 32, 32], "dtypes": []}]
        assert found["circ_pad"]["attributes"] == {"pads": [1, 1, 1, 1]}

    def test_list_has_plugins_without_a_recipe(self, run: Run, copy: Definitions) -> None:
        assert f"{copy.id}  no recipe\n    inp0; scale: int\n" in run("list", "--plugins", str(copy.path)).out
        report = json.loads(run("list", "--plugins", str(copy.path), "--format", "json").out)
        facts = {"plugin": copy.id, "inputs": ["inp0"], "attribute_types": {"scale": "int"}, "aot": True}
        assert facts in report["plugins"]

    def test_inspect(self, run: Run, copy: Definitions) -> None:
        run(*build(copy, "--shape", "1x64"))
        done = run("inspect", "engines/copy.aot")
        assert (done.code, done.err) == (0, "")
        assert re.search(r"portable +fp32-fp32 +0 +1 +64 +\d+ +7\.0 sm_80\n", done.out)
        assert "every PTX file is as compiled" in done.out
        report = json.loads(run("inspect", "engines/copy.aot", "--format", "json").out)
        assert report == json.loads(Path("engines/copy.aot/manifest.json").read_text())

    def test_inspect_a_damaged_one(self, run: Run, copy: Definitions) -> None:
        run(*build(copy, "--shape", "1x64"))
        next(Path("engines/copy.aot").glob("*.ptx")).write_text("")
        done = run("inspect", "engines/copy.aot")
        assert (done.code, done.out) == (5, "")
        assert "is not the file that was compiled" in done.err

    @pytest.fixture
    def plan(self, tmp_path: Path) -> Path:
        """A file in a plan's place with a record that is right."""
        path = tmp_path / "copy.plan"
        path.write_bytes(b"plan")
        kernels = [{"id": f"copy.sm_90.fp32-fp32.t{t}", "call": "copy", "tactic": t, "in_plan": t == 2} for t in (1, 2)]
        digest = hashlib.sha256(b"plan").hexdigest()
        tensor = {"dtype": "fp32", "shape": [64], "aliases": None}
        record = {
            "schema": "aotfactory.plan/1",
            "name": "copy",
            "target": "copy",
            "options": {"jit": False, "version_compatible": False, "exclude_lean_runtime": False},
            "flags": [],
            "inputs": {"x": {"min": [64], "opt": [64], "max": [64]}},
            "outputs": ["y"],
            "network": {
                "symbols": {},
                "tensors": [{"name": "x", "role": "input", **tensor}, {"name": "y", "role": "output", **tensor}],
                "calls": [{"name": "copy", "plugin": "n::copy", "attributes": {}, "inputs": ["x"], "outputs": ["y"]}],
            },
            "plan": {"path": path.name, "sha256": digest, "bytes": 4},
            "bundle": {"path": str(tmp_path / "copy.aot"), "sha256": digest},
            "versions": {"tensorrt": "11.4.0"},
            "gpu": {"name": "a GPU", "arch": "sm_90", "kernels_for": "sm_90"},
            "kernels": [{**kernel, "kernel": "copy", "sha256": digest} for kernel in kernels],
            "messages": ["[W] something"],
            "checks": [{"name": "runner", "subject": "copy.plan", "status": "passed", "detail": "at min"}],
        }
        path.with_name("copy.plan.json").write_text(json.dumps(record))
        return path

    def test_inspect_a_plan(self, run: Run, plan: Path) -> None:
        done = run("inspect", str(plan))
        assert (done.code, done.err) == (0, "")
        assert "copy.plan: 4 bytes, from copy\n  built by TensorRT 11.4.0 on a GPU, for sm_90\n" in done.out
        assert "kernel of copy: copy.sm_90.fp32-fp32.t2, tactic 2\n" in done.out
        assert "t1" not in done.out
        assert "TensorRT warned: [W] something\n" in done.out
        assert "  runner: ok at min\n" in done.out
        assert json.loads(run("inspect", str(plan), "--format", "json").out)["schema"] == "aotfactory.plan/1"

    def test_inspect_a_plan_of_another_record(self, run: Run, plan: Path) -> None:
        plan.write_bytes(b"another")
        done = run("inspect", str(plan))
        assert (done.code, done.out) == (1, "")
        assert "copy.plan is not the plan of this record" in done.err

    def test_version(self, run: Run) -> None:
        done = run("--version")
        lines = dict(line.split(" ", 1) for line in done.out.splitlines())
        assert (done.code, done.err) == (0, "")
        assert list(lines) == [
            "aotfactory",
            "Python",
            "tensorrt",
            "triton",
            "numpy",
            "cuda-python",
            "onnx",
        ]
        assert lines["Python"] == sys.version.split()[0]

    @pytest.mark.parametrize("command", [[], ["build"], ["compile"], ["list"], ["inspect"]])
    @pytest.mark.parametrize("option", ["--help", "-h"])
    def test_help(self, run: Run, command: list[str], option: str) -> None:
        done = run(*command, option)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("Usage: ")


WRONG: dict[str, tuple[list[str], str]] = {
    "no command": ([], "Commands:"),
    "unknown command": (["buld"], "Did you mean 'build'?"),
    "unknown option": (["build", "circ_pad", "--nonsense"], "No such option"),
    "no target": (["build"], "Missing argument 'TARGET'"),
    "two targets": (["build", "circ_pad", "non_zero"], "unexpected extra argument"),
    "unknown target": (["build", "nothing"], "error: no recipe 'nothing'\n  hint: there are circ_pad, "),
    "unknown plugin": (["build", "my::nothing"], "error: no plugin 'my::nothing' is registered\n  hint: "),
    "no such file": (["build", "nowhere.onnx"], "error: cannot read nowhere.onnx: No such file"),
    "shape": (["build", "circ_pad", "--shape", "1x"], "error: '1x' is not a shape\n  hint: write 1x3x32x32"),
    "empty shape": (["build", "circ_pad", "--shape="], "error: '' is not a shape"),
    "shape of nothing": (["build", "circ_pad", "--shape", "z=1x3"], "circ_pad has no input 'z'\n  hint: its inputs: x"),
    "two shapes": (["build", "circ_pad", "--shape", "1", "--shape", "2"], "--shape is given twice without a name"),
    "two shapes of x": (["build", "circ_pad", "--shape", "x=1", "--shape", "x=2"], "--shape is given twice for x"),
    "half a profile": (["build", "circ_pad", "--min-shape", "1x3"], "needs --max-shape too"),
    "dtype": (["build", "circ_pad", "--dtype", "fp7"], "unknown data type 'fp7'\n  hint: use one of fp32"),
    "attribute without value": (["build", "circ_pad", "--attr", "pads"], "--attr 'pads' has no value"),
    "attribute twice": (["build", "circ_pad", "--attr", "a=1", "--attr", "a=2"], "--attr a is given twice"),
    "attribute of another type": (
        ["build", "circ_pad", "--attr", "pads=1,a"],
        "pads of aotfactory::circ_pad is int32[]",
    ),
    "unknown attribute": (["build", "circ_pad", "--attr", "pad=1"], "has no attribute pad"),
    "architecture": (["build", "circ_pad", "--arch", "sm_1"], "error: unknown architecture 'sm_1'"),
    "no architecture": (["build", "circ_pad", "--arch", ""], "error: no architecture was given"),
    "PTX ISA": (["build", "circ_pad", "--ptx-isa", "new"], "error: 'new' is not a PTX ISA version"),
    "tactic": (["build", "circ_pad", "--tactic", "one"], "--tactic"),
    "unknown tactic": (["build", "circ_pad", "--tactic", "99"], "has no tactic 99 here"),
    "engine": (["build", "circ_pad", "--engine", "plan"], "--engine"),
    "format": (["list", "--format", "xml"], "--format"),
    "plugins": (["list", "--plugins", "nowhere.py"], "no such file"),
    "no bundle": (["inspect", "nowhere"], "error: nowhere is not a bundle: no such file"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_argument_is_exit_code_2_and_one_message(wrong: str, run: Run) -> None:
    arguments, message = WRONG[wrong]
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_wrong_definition_is_exit_code_4(run: Run, tmp_path: Path) -> None:
    wrong = Definitions(tmp_path, changed("    n = inp0", "    1 % inp0.shape_expr[0]  # HERE\n    n = inp0"))
    done = run(*build(wrong, "--shape", "1x64", "--format", "json"))
    assert (done.code, json.loads(done.out)["error"]["code"]) == (4, "AOT401")
    assert re.fullmatch(
        rf"error: {wrong.here}: aot_impl of {wrong.id}: TypeError: .*\n  hint: .*\n  more: .*AOT401\n", done.err
    )


def test_our_own_mistake_is_not_taken_for_a_failed_check(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_versions", lambda: {}[""])
    done = run("--version")
    assert done.code == cli.BROKEN == 70
    assert "Traceback" in done.err
    assert "please report it" in done.err


class TestStreams:
    def test_a_reader_that_leaves_changes_nothing(self, copy: Definitions) -> None:
        for more in ([], ["--format", "json"]):
            read, write = os.pipe()
            os.close(read)
            command = [*COMMAND, *build(copy, "--shape", "1x64", *more)]
            done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
            os.close(write)
            assert done.returncode == 0, done.stderr
            assert "Traceback" not in done.stderr
            assert "Broken" not in done.stderr

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
    @pytest.mark.parametrize("format", ["text", "json"])
    def test_a_full_disk_is_told(self, format: str) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*COMMAND, "list", "--format", format], stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 3
        said = "error: cannot write to standard output: No space left on device\n  more: aotfactory explain AOT309\n"
        assert done.stderr == said

    def test_no_streams_at_all(self, run: Run, monkeypatch: pytest.MonkeyPatch, copy: Definitions) -> None:
        monkeypatch.setattr(sys, "stdout", None)
        assert run(*build(copy, "--shape", "1x64")).code == 0
        assert run(*build(copy, "--shape", "1x64", "--format", "json")).code == 0

    def test_lines_are_not_cut_for_a_program_that_reads(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("COLUMNS", raising=False)
        assert re.search(r"aotfactory::rms_norm_add; .{60,}", run("list").out)

    @pytest.mark.parametrize("columns", [40, 80, 200])
    def test_tables_fit_the_terminal(
        self, run: Run, copy: Definitions, monkeypatch: pytest.MonkeyPatch, columns: int
    ) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = run(*build(copy, "--shape", "1x64")).out.splitlines()
        table = [line for line in lines if line.startswith("  ")]
        assert max(map(len, table)) <= columns
        assert not [line for line in lines if line != line.rstrip()]


@pytest.fixture
def on_a_terminal(copy: Definitions) -> Iterator[Callable[..., tuple[int, str]]]:
    """Runs a command with a terminal for stdout and stderr; its exit code and what was seen there."""

    def run(*arguments: str, patience: float, press: bytes = b"", when: str = "") -> tuple[int, str]:
        code = f"{HEED}; from aotfactory.cli import main as cli, terminal; terminal.PATIENCE = {patience}; cli.main()"
        process, screen = pty.fork()
        if process == 0:
            os.environ.pop("COLUMNS", None)
            os.execv(sys.executable, [sys.executable, "-c", code, *arguments])
        seen, deadline = "", time.monotonic() + 60
        while time.monotonic() < deadline:
            if not select.select([screen], [], [], 1)[0]:
                continue
            try:
                seen += os.read(screen, 4096).decode()
            except OSError:  # the other end was closed
                break
            if press and re.search(when, seen):
                os.write(screen, press)
                press = b""
        else:
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        os.close(screen)
        return os.waitstatus_to_exitcode(status), seen

    yield run
    shutil.rmtree("engines", ignore_errors=True)


SLOW = SOURCE.replace(
    'return "copy", PTX', 'import time; print("computing", flush=True); time.sleep(SECONDS); return "copy", PTX'
)


class TestTerminal:
    def test_progress_where_it_takes_long(self, on_a_terminal: Any, tmp_path: Path) -> None:
        slow = Definitions(tmp_path, SLOW.replace("SECONDS", "0.3"))
        code, seen = on_a_terminal(*build(slow, "--shape", "1x64"), patience=0.01)
        assert code == 0
        assert re.search(r"copy\.(sm_80|portable)\.fp32-fp32\.t0", seen)
        assert "\x1b[1mcopy\x1b[0m" in seen  # colours and weights, as it is a terminal

    def test_no_progress_where_it_does_not(self, on_a_terminal: Any, copy: Definitions) -> None:
        code, seen = on_a_terminal(*build(copy, "--shape", "1x64"), patience=60)
        assert code == 0
        assert "copy.sm_80.fp32-fp32.t0" not in seen

    def test_ctrl_c(self, on_a_terminal: Any, tmp_path: Path) -> None:
        slow = Definitions(tmp_path, SLOW.replace("SECONDS", "60"))
        code, seen = on_a_terminal(
            *build(slow, "--shape", "1x64", "--jobs", "1"), patience=0.01, press=b"\x03", when="computing"
        )
        assert code == 130
        assert seen.rstrip().endswith("interrupted")
        assert "Traceback" not in seen
        assert not Path("engines").exists()

    def test_patience(self) -> None:
        assert terminal.PATIENCE == 1


EARLY = """
import sys
from aotfactory.__main__ import main

class Interrupted:
    def find_spec(self, name, *rest):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
main()
"""


def test_interrupted_while_it_is_being_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_interrupted_by_a_signal(tmp_path: Path) -> None:
    slow = Definitions(tmp_path, SLOW.replace("SECONDS", "60"))
    # One job: with two, the other worker may say "computing" as well before the signal comes.
    command = [*COMMAND, *build(slow, "--shape", "1x64", "--jobs", "1", "--format", "json")]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    assert process.stderr.readline() == "computing\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, err) == (130, "interrupted\n")
    assert json.loads(out) == {
        "schema": "aotfactory.error/1",
        "exit_code": 130,
        "error": {"code": None, "message": "interrupted", "where": None, "hint": None},
    }


HEAVY = {"triton", "tensorrt", "tensorrt_bindings", "numpy", "onnx", "rich", "torch", "polygraphy", "ml_dtypes", "cuda"}


@pytest.mark.parametrize("arguments", [["--help"], ["build", "--help"], ["build"], ["nonsense"]])
def test_help_and_usage_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom aotfactory.cli.main import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    loaded = {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}
    assert "typer" in loaded
    assert loaded & HEAVY == set()
