# SPDX-License-Identifier: Apache-2.0
"""The judge in both directions: right kernels of awkward kinds pass, wrong ones fail at shapes that mean something."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import triton
from building import MODULES

from aotfactory.api.build import BuildResult, build_bundle
from aotfactory.compiler.options import Options
from aotfactory.core.arch import parse_archs
from aotfactory.core.check import Check
from aotfactory.core.errors import DefinitionError, MissingError
from aotfactory.core.recipe import Input, Recipe
from aotfactory.executors import cases
from aotfactory.executors.data import make_inputs
from aotfactory.executors.inputs import Kind
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions
from aotfactory.targets.resolve import resolve

JUDGE = MODULES / "judge"
REQUESTED = ("shape", "min_shape", "opt_shape", "max_shape", "dtype", "attributes")


def build(out: Path, module: str, target: str, **options: object) -> BuildResult:
    shapes = {k: options.pop(k) for k in REQUESTED if k in options}
    return build_bundle(
        target,
        request=TargetOptions(**shapes),  # type: ignore[arg-type]
        options=Options(archs=parse_archs("sm_90")),
        out=out,
        plugins=[str(JUDGE / f"{module}.py")],
        listed=False,
        **options,  # type: ignore[arg-type]
    )


def outcomes(module: str, *dtype: str) -> dict[str, dict[str, list[str]]]:
    """What comes of each recipe of a module, as `judging` says."""
    command = [sys.executable, str(Path(__file__).parent / "judging.py"), str(JUDGE / f"{module}.py"), *dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, list[str]]] = json.loads(done.stdout)
    return found


def judged(built: BuildResult) -> list[Check]:
    return [c for c in built.checks if c.name == "interpreter"]


def test_kernels_that_are_wrong_in_one_way_alone_are_found() -> None:
    """For the last program, for equal sizes, for odd large ones, for NaN, in another order of the programs, ..."""
    found = outcomes("wrong")
    passed = [name for name, modes in found.items() if "caught" not in [state for state, _ in modes.values()]]
    assert passed == ["in_bf16_alone"], {name: found[name] for name in passed}
    said = {name: " ".join(text for _, text in modes.values()) for name, modes in found.items()}
    for name, part in {
        "where_sizes_are_equal": "x 37x37",
        "tail_after_the_first_block": "x 7x511",
        "offsets_beyond_int32": "bytes); at x 70000x40000",
        "an_assertion": "an assertion fails in program (0, 0, 0): rows are short at wrong.py:",
        "needs_what_comes_later": "adversarial data",
        "sum_on_what_was_there": "reads y where nothing was written",
        "reads_what_another_warp_wrote": "of y, which another warp of the same program wrote",
        "writes_where_another_warp_reads": "of x, which another warp of the same program may still have to read",
        "reads_one_that_another_warp_wrote": "of y, which another warp of the same program wrote",
        "reloads_what_it_scattered": "of x, which another warp of the same program wrote",
    }.items():
        assert part in said[name], said[name]


def test_what_is_wrong_in_one_type_alone_is_found_in_that_type() -> None:
    assert outcomes("wrong", "bf16")["in_bf16_alone"]["static"][0] == "caught"


def test_kernels_that_are_right_and_unusual_pass() -> None:
    found = outcomes("right")
    refused = {name: modes for name, modes in found.items() if {state for state, _ in modes.values()} != {"survived"}}
    assert not refused


def test_what_triton_exchanges_between_warps_itself_is_no_race(tmp_path: Path) -> None:
    (check,) = judged(build(tmp_path, "transposed", "transposed"))
    assert (check.status, check.compared) == ("passed", "reference"), check.detail


@pytest.mark.parametrize("target", ["of_two_builtins", "loop_variable_is_a_tensor", "talks_and_asserts"])
def test_what_the_interpreter_reads_otherwise_compiles(target: str, tmp_path: Path) -> None:
    (check,) = judged(build(tmp_path, "right", target))
    assert (check.status, check.compared) == ("passed", "reference"), check.detail


def test_what_is_too_large_to_compare_is_compared_smaller() -> None:
    catalog = Catalog(["aotfactory.kernels.softmax"])
    network = resolve("masked_softmax", catalog, TargetOptions())
    assert cases.shrunk(network, catalog.for_plugin, 2**24) is None
    assert cases.shrunk(network, catalog.for_plugin, 2**20) == {"x": (2, 3, 256, 1024), "mask": (256, 1024)}


def test_a_lost_modulo_is_found_although_min_is_one(tmp_path: Path) -> None:
    shapes = {point: {"x": (n, 16, 14, 14)} for point, n in (("min_shape", 1), ("opt_shape", 8), ("max_shape", 32))}
    built = build(tmp_path, "nomod", "bias_relu", **shapes)
    assert {(c.status, "out-of-range read" in c.detail) for c in judged(built)} == {("failed", True)}
    assert built.path is None


@pytest.mark.parametrize(("rows", "found"), [(64, "61440 of 65536"), (2000, "1920000 of 2048000")])
def test_a_block_shorter_than_the_row_is_found(rows: int, found: str, tmp_path: Path) -> None:
    """At its own length, which must not be cut down to the block's; of a large grid by what its programs write."""
    (check,) = judged(build(tmp_path, "kinds", "short", shape={"x": (rows, 1024)}))
    assert (check.status, f"{found} elements of y were not written" in check.detail) == ("failed", True), check.detail
    (check,) = judged(build(tmp_path, "kinds", "rows", shape={"x": (rows, 1024)}))
    assert (check.status, check.compared, check.sampled) == ("passed", "reference", rows > 256), check.detail
    assert ("64 of 2,000 programs" if rows > 256 else "all programs") in check.detail
    found = check.to_json()
    assert found["programs"]["of"] == 2 * rows
    assert [c["shapes"] for c in found["cases"]] == [{"x": [rows, 1024]}] * 2


@pytest.mark.parametrize("shape", [{}, {"shape": {"ids": (8,), "table": (4096, 48)}}, {"shape": {"ids": (100,)}}])
def test_indices_are_below_the_tables_rows(shape: dict[str, object], tmp_path: Path) -> None:
    (check,) = judged(build(tmp_path, "kinds", "table", **shape))
    assert (check.status, check.compared) == ("passed", "reference"), check.detail
    assert "ids made up: from 0 to below the smallest dimension" in check.detail


def test_made_up_indices_excuse_elements_that_are_not_written_but_not_all(tmp_path: Path) -> None:
    """A kernel that takes a dynamic dimension for the number -1 writes nothing; one that scatters writes some."""
    x = {None: "int32"}
    dynamic = {"min_shape": {"x": (1, 64)}, "max_shape": {"x": (9, 64)}}
    (check,) = judged(build(tmp_path, "packed", "packed::bytes", dtype=x, **dynamic))
    assert (check.status, "no element of y was written" in check.detail) == ("failed", True), check.detail
    assert "x.shape has -1 for a dimension that is dynamic" in check.detail
    (check,) = judged(build(tmp_path, "packed", "packed::bytes", dtype=x, shape={"x": (9, 64)}))
    assert (check.status, check.compared) == ("passed", "memory"), check.detail
    shape = {"at": (9,), "x": (9, 48)}
    (check,) = judged(build(tmp_path, "packed", "packed::scatter", dtype={"at": "int32"}, shape=shape))
    assert (check.status, "were not written, with made-up indices" in check.detail) == ("passed", True), check.detail


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_sums_of_narrow_types_are_sums_of_numbers(dtype: str, tmp_path: Path) -> None:
    (check,) = judged(build(tmp_path, "kinds", "sums", dtype={None: dtype}))
    assert (check.status, check.compared) == ("passed", "reference"), check.detail


@pytest.mark.parametrize("target", ["best", "total", "single", "counting", "bits", "ema", "tally", "noise"])
def test_the_interpreters_own_faults_are_not_the_kernels(target: str, tmp_path: Path) -> None:
    if target == "counting" and triton.__version__.startswith("3.5."):
        pytest.skip("tl.condition is always true in Triton 3.5's interpreter")
    (check,) = judged(build(tmp_path, "battery", target))
    assert (check.status, check.compared) == ("passed", "reference"), check.detail


@pytest.mark.parametrize(
    ("target", "status", "said"),
    [
        ("generic", "passed", "against the reference"),
        ("specific", "passed", "against the reference"),
        ("clock", "skipped", "inline assembly with an operand '=l' cannot be interpreted"),
        ("assembly", "passed", "against the reference"),
    ],
)
def test_libdevice_is_computed_and_unknown_ptx_skipped(target: str, status: str, said: str, tmp_path: Path) -> None:
    built = build(tmp_path, "arcsine", target)
    (check,) = judged(built)
    assert (check.status, said in check.detail) == (status, True), check.detail
    assert built.path is not None


def test_with_the_time_spent_the_rest_is_said_not_to_have_run(tmp_path: Path) -> None:
    (check,) = judged(build(tmp_path, "kinds", "rows", check_time=1e-6))
    assert (check.status, check.compared) == ("skipped", "nothing")
    assert check.detail == "not run: the 1e-06 s of --check-time were spent"
    assert check.to_json()["not_run"] == [
        {"label": "static", "shapes": {"x": [2, 48]}, "data": kind} for kind in ("random", "adversarial")
    ]


def test_a_skipped_check_is_on_the_record(tmp_path: Path) -> None:
    from aotfactory.compiler import bundle
    from aotfactory.executors.effort import Effort
    from aotfactory.executors.executor import BundleJob
    from aotfactory.executors.interpreter import bundle_check
    from aotfactory.plugins.catalog import Catalog

    built = build(tmp_path, "kinds", "short", shape={"x": (3, 100)}, skip={"interpreter": "its rows are short"})
    assert built.path is not None
    made = bundle.read(built.path)
    assert made.skipped == {"interpreter": "its rows are short"}
    job = BundleJob(path=built.path, bundle=made, catalog=Catalog(), effort=Effort(), progress=print)
    for found in (judged(built), bundle_check.check(job)):
        assert {(c.status, "because its rows are short" in c.detail) for c in found} == {("skipped", True)}


def test_causes_in_the_environment_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", "/proc/x")
    with pytest.raises(MissingError, match=r"(?s)cannot write to its cache /proc/x.*set TRITON_CACHE_DIR"):
        build(tmp_path, "kinds", "rows")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(MissingError, match=r"(?s)TRITON_INTERPRET=1 is set.*unset TRITON_INTERPRET"):
        build(tmp_path, "kinds", "rows")


COMMON = {"name": "r", "plugin": "a::b", "summary": "", "reference": lambda x: x}
X = Input(name="x", shape=(2, 3), dims=("N", "D"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Input(name="x", shape=(2, 3), dims=("N",)), "input 'x' has 1 dims for a shape of 2"),
        (lambda: Input(name="x", shape=(2,), dtypes=("float",)), "unknown data type 'float'"),
        (lambda: Input(name="x", shape=(2,), limits=(3, 1)), "not a smallest and a largest value"),
        (lambda: Input(name="x", shape=(2,), limits=(0, 1), choices=(1,)), "several of limits, choices and data"),
        (lambda: Input(name="x", shape=(2, 2), dims=("N", None)), "dims with None, which is not a name"),
        (
            lambda: Recipe(**COMMON, inputs=(X,), dtypes=("fp32",), tolerance={"float32": None}),
            "names data type 'float32'",
        ),
        (
            lambda: Recipe(**COMMON, inputs=(X,), dtypes=("fp32",), odd_shapes=((3, 5),)),
            "each case is a tuple of shapes",
        ),
        (lambda: Recipe(**COMMON, inputs=(X,), dtypes=("fp32",), shrink=("M",)), "dimension 'M', which no input has"),
        (lambda: Recipe(**COMMON, inputs=(X,), dtypes=()), "it has no data types"),
    ],
)
def test_recipes_are_checked_where_they_are_made(make: object, said: str) -> None:
    with pytest.raises(DefinitionError, match=rf"(?s)test_judge.py:\d+: .*{said}"):
        make()  # type: ignore[operator]


def test_a_recipe_that_hides_a_shipped_one_is_refused(tmp_path: Path) -> None:
    from aotfactory.plugins.catalog import Catalog

    path = tmp_path / "mine.py"
    path.write_text(
        "from aotfactory import Input, Recipe\nRECIPE = Recipe(\n    name='softmax', plugin='a::b', summary='', "
        "inputs=(Input(name='x', shape=(2,)),),\n    dtypes=('fp32',), reference=lambda x: x)\n"
    )
    with pytest.raises(DefinitionError, match=r"mine\.py:3: recipe 'softmax' hides aotfactory's own"):
        Catalog([str(path)])


def test_what_goes_by_an_integer_that_is_rarely_drawn_is_found(tmp_path: Path) -> None:
    """With time left, integers are drawn again: here one that the first two runs do not have."""
    catalog = Catalog([str(JUDGE / "rare.py")])
    network = resolve("rare", catalog, TargetOptions())
    shapes, types = {"x": (16,), "label": (1,)}, {"x": "fp32", "label": "int32"}

    def label(kind: Kind, draw: int = 0) -> int:
        return int(make_inputs(network, catalog.for_plugin, shapes, types, kind, draw=draw).arrays["label"][0])

    first = {label("random"), label("adversarial")}
    again = {label("random", draw) for draw in range(1, 5)} - first
    never = next(n for n in range(100) if n not in first | again)
    assert again
    for value, failed in ((min(again), True), (never, False), (label("random"), True)):
        built = build(tmp_path, "rare", "rare", attributes={"RARE": value})
        assert bool(built.failed) is failed, value
        assert failed or not judged(built)[0].not_run
