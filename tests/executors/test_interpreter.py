# SPDX-License-Identifier: Apache-2.0
"""The `interpreter` check: what it runs, with what arguments, and what it says. What it catches: test_mutations.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from building import MODULES, build, edited, load, network, tensor

from aotfactory.compiler.compile import CompiledVariant
from aotfactory.core import expressions
from aotfactory.core.errors import CheckError
from aotfactory.core.expressions import Constant, Op, Symbol, operation
from aotfactory.core.network import Network
from aotfactory.executors.interpreter import check as interpreter
from aotfactory.executors.interpreter import kernel as interpreted
from aotfactory.targets.network_builder import NetworkBuilder

COPY_PTX = Path(__file__).resolve().parents[1] / "mutants" / "copy_ptx.py"
DOUBLE = MODULES / "double.py"
BUMP = MODULES / "bump.py"
POSITIVE = MODULES / "positive.py"
ROWS = tensor("x", "N=1/3/9 48")


RETURN = (
    "    return aot_kernel(double_kernel, x_ptr=x, y_ptr=outputs[0], n=n, BLOCK=block, num_warps=1, "
    "grid=trtp.cdiv(n, block))\n"
)


def compared(outcome: tuple[str, str]) -> bool:
    """Whether every program of every shape was right."""
    status, said = outcome
    return (status, said.startswith("against the reference, at "), "; all " in said) == ("passed", True, True)


def detail(folder: Path, module: Path, edits: dict[str, str], *inputs: object, **options: object) -> tuple[str, str]:
    """Status and detail of the check for an edited module of definitions."""
    plugin, sources = edited(folder, module, edits)
    check = build(network(plugin, *(inputs or (ROWS,)), **options), sources).checks["interpreter"]
    return check.status, check.detail


def test_every_type_and_tactic_runs_against_the_reference() -> None:
    sources = load(DOUBLE)
    built = build(network("definitions::double", ROWS), sources, all_dtypes=True)
    found = {c.subject: (c.status, c.detail) for c in built.found if c.name == "interpreter"}
    assert len(found) == 10
    said = "against the reference, at small x 2x48, opt x 3x48, max x 9x48, min x 1x48, large x 7x48; all programs"
    assert set(found.values()) == {("passed", said)}


def test_definitions_are_what_they_are_when_compiled(tmp_path: Path) -> None:
    """An index as first input has no part in the tolerance; `tl.cast` by another name; the mode is not to be seen."""
    inputs = tensor("ids", "N=7", "int64"), tensor("table", "R=5 W=16")
    outcome = detail(tmp_path, MODULES / "takes_rows.py", {}, *inputs)
    assert compared(outcome), outcome


def test_words_between_tensors_mean_what_the_compiler_takes_them_for(tmp_path: Path) -> None:
    outcome = detail(tmp_path, MODULES / "joined_masks.py", {})
    assert compared(outcome), outcome
    status, said = detail(tmp_path, MODULES / "joined_masks.py", {"row < rows and not": "row <= rows and not"})
    assert (status, "out-of-range read" in said) == ("failed", True)


def test_variants_that_differ_in_architecture_alone_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[dict[str, object]] = []

    def run(network: object, asked: list[dict[str, object]], *rest: object) -> list[dict[str, str]]:
        jobs.extend(asked)
        return [{"status": "passed", "detail": str(job["tactic"])} for job in asked]

    monkeypatch.setattr(interpreter, "_run", run)
    load(DOUBLE)
    built = build(network("definitions::double", ROWS), archs="sm_80,sm_90,portable")
    assert [job["tactic"] for job in jobs] == [1, 2]
    outcomes = {c.subject: c.detail for c in built.found if c.name == "interpreter"}
    assert outcomes == {f"double.{a}.fp32-fp32.t{t}": str(t) for a in ("sm_80", "sm_90", "portable") for t in (1, 2)}


def tampered(result: CompiledVariant, **changes: object) -> CompiledVariant:
    assert result.variant is not None
    return replace(result, id=f"{result.id} {changes}", variant=replace(result.variant, **changes))  # type: ignore[arg-type]


def test_in_the_profile_the_variants_own_expressions_are_evaluated() -> None:
    """Not those that a second run of the definitions gives: the bundle holds the first."""
    sources = load(DOUBLE)
    made = network("definitions::double", ROWS)
    good = build(made, interpret=False, tactic=1).results[0]
    assert good.variant is not None
    count, launch = good.variant.extra_args[0], good.variant.launch
    programs = launch["grid_x"]
    not_at_max = operation(Op.MIN, count, Constant(8 * 48))
    wrong = [
        tampered(good, extra_args=(operation(Op.SUB, count, 1),)),
        tampered(good, extra_args=(operation(Op.SUM, count, 1),)),
        tampered(good, launch={**launch, "grid_x": operation(Op.MAX, operation(Op.SUB, programs, 1), 1)}),
        tampered(good, launch={**launch, "grid_x": Constant(0)}),
        tampered(good, launch={**launch, "grid_y": Constant(1 << 20)}),
        tampered(good, extra_args=(not_at_max,)),
        tampered(good, extra_args=(count, count)),
        tampered(good, extra_args=()),
        tampered(good, extra_args=(operation(Op.PROD, Symbol("N"), 2**40),)),
    ]
    found = interpreter.check(made, [good, *wrong], sources)
    statuses = [check.status for check in found]
    assert (statuses.pop(5), statuses.pop(0), set(statuses)) == ("passed", "passed", {"failed"})
    details = [check.detail for check in found]
    assert details[1] == "double: 1 of 96 elements of y were not written; at x 2x48, random data"
    assert details[2] == "double: out-of-range read: byte 384 of x (384 bytes); at x 2x48, random data"
    assert details[3] == "double: 32 of 96 elements of y were not written; at x 2x48, random data"
    assert details[4] == "double: 96 of 96 elements of y were not written; at x 2x48, random data"
    assert "small x 2x48 (64 of 2,097,152 programs), opt" in details[5]
    assert "elements that no program writes were not looked for" in details[5]
    assert details[6] == "double: 48 of 432 elements of y were not written; at x 9x48, random data"
    assert "takes 3 arguments (x_ptr, n, y_ptr), but TensorRT passes 4" in details[7]
    assert "takes 3 arguments (x_ptr, n, y_ptr), but TensorRT passes 2" in details[8]
    assert f"n is {2**41}, which int32 does not hold; at x 2x48" in details[9]


def test_a_dimension_of_0_launches_nothing(tmp_path: Path) -> None:
    outcome = detail(tmp_path, DOUBLE, {', "LINEAR", [1, 2]': ""}, tensor("x", "N=0/2/3 48"))
    assert compared(outcome)


def test_the_chain_works_on_one_buffer(tmp_path: Path) -> None:
    sources = load(BUMP)
    made = network("definitions::bump", ROWS, attributes={"delta": 3}, length=2)
    found = interpreter.check(made, build(made, interpret=False).results, sources)
    assert [c.subject for c in found] == ["bump_1.portable.fp32-fp32.t0", "bump_2.portable.fp32-fp32.t0"]
    assert all(compared((c.status, c.detail)) for c in found)
    # Through the output's pointer is the same buffer too.
    plugin, sources = edited(tmp_path, BUMP, {"tl.store(x_ptr + i": "tl.store(y_ptr + i"})
    made = network(plugin, ROWS, attributes={"delta": 3}, length=2)
    assert not build(made, sources).failed


def test_a_mistake_in_the_second_call_of_a_chain_is_named(tmp_path: Path) -> None:
    edits = {"tl.load(x_ptr + i, mask=i < n) + DELTA": "tl.maximum(tl.load(x_ptr + i, mask=i < n), 0) + DELTA"}
    edits |= {"reference=lambda x, delta: x": "reference=lambda x, delta: np.maximum(x, 0 if x.max() < 103 else -99)"}
    plugin, sources = edited(tmp_path, BUMP, edits)
    made = network(plugin, tensor("x", "48", "int32"), attributes={"delta": 3}, length=2)
    built = build(made, sources)
    assert "bump_" in str(built.failed), built.found


def test_the_second_call_of_a_chain_in_other_types_is_judged_with_the_first() -> None:
    """The network itself never gets there in these types, but the kernel is the first call's, which was compared."""
    sources = load(BUMP)
    made = network("definitions::bump", ROWS, attributes={"delta": 3}, length=2)
    built = build(made, sources, all_dtypes=True)
    found = {c.subject: (c.status, c.detail) for c in built.found if c.name == "interpreter"}
    assert found["bump_1.portable.int32-int32.t0"][0] == "passed"
    assert found["bump_2.portable.int32-int32.t0"] == found["bump_1.portable.int32-int32.t0"]


@pytest.mark.parametrize(
    ("edits", "outcome"),
    [
        (
            {},
            (
                "passed",
                "against the reference, at small x 2, opt x 100, max x 250, min x 0, inside x 37, even x 48, large x 2",
            ),
        ),
        (
            {"tl.sum(wanted, 0))": "tl.sum(wanted, 0) + 1)"},
            ("failed", "number: 1 of 1 elements differ, first at (): 3 instead of 2; largest error 1, 0.5 relative"),
        ),
        ({"tl.sum(wanted, 0))": "n // 2)"}, ("failed", "; at x ")),
        ({"tl.cumsum(wanted, 0) - 1": "i"}, ("failed", "; at x ")),
        ({"mask=wanted != 0": "mask=i < n"}, ("failed", "positive: found: ")),
        ({"x > 0).to(tl.int32)": "x >= 0).to(tl.int32) * (i < n)"}, ("failed", "found: shape ")),
        ({"tl.store(number_ptr": "tl.store(found_ptr"}, ("failed", "positive: ")),
    ],
    ids=["good", "one too many", "too few", "gaps", "all written", "zeros too", "number not written"],
)
def test_data_dependent_shapes(edits: dict[str, str], outcome: tuple[str, str], tmp_path: Path) -> None:
    if "number_ptr" in str(edits):  # its pointer must be used all the same
        edits = {"    tl.store(number_ptr, tl.sum(wanted, 0))": "    tl.store(number_ptr, 1, mask=n < 0)"}
    status, said = detail(tmp_path, POSITIVE, edits, tensor("x", "N=0/100/250"), outputs=("found", "number"))
    assert status == outcome[0], said
    assert outcome[1] in said


@pytest.mark.parametrize("archs", ["portable", "sm_90"])
def test_kernels_that_are_not_tritons_are_skipped(archs: str) -> None:
    sources = load(COPY_PTX)
    built = build(network("mutants::copy_ptx", ROWS), sources, archs=archs)
    check = built.checks["interpreter"]
    assert (check.status, check.detail) == ("skipped", "not a Triton kernel")


def test_other_formats_than_linear_are_skipped() -> None:
    sources = load(DOUBLE)
    images = tensor("x", "1 8 2 3", "fp16")
    built = build(network("definitions::double", images), sources)
    found = {c.subject: (c.status, c.detail) for c in built.found if c.name == "interpreter"}
    reason = "format hwc is not laid out by this check"
    assert found.pop("double.portable.fp16.hwc-fp16.hwc.t0") == ("skipped", reason)
    assert {status for status, _ in found.values()} == {"passed"}


def test_where_abi_failed_nothing_runs(tmp_path: Path) -> None:
    edits = {', "LINEAR", [1, 2]': "", RETURN: RETURN.replace("return aot", "return 'misnamed', *aot")[:-1] + "[1:]\n"}
    assert detail(tmp_path, DOUBLE, edits) == ("skipped", "abi failed")


NO_RECIPE = {"RECIPE = Recipe(": "NONE = Recipe(", ', "LINEAR", [1, 2]': ""}


def test_without_a_recipe_only_memory_accesses_are_checked(tmp_path: Path) -> None:
    status, said = detail(tmp_path, DOUBLE, NO_RECIPE)
    assert (status, said.startswith("memory accesses only: the plugin has no recipe, at small x 2x48")) == (
        "passed",
        True,
    )
    status, said = detail(tmp_path, DOUBLE, {**NO_RECIPE, "tl.load(x_ptr + i, mask=i < n)": "tl.load(x_ptr + i)"})
    assert (status, "out-of-range read" in said) == ("failed", True)


def mixed(first: str, second: str) -> Network:
    """Two calls of different plugins in a row."""
    builder = NetworkBuilder()
    builder.add_input(ROWS)
    builder.add_call("one", first, {}, ["x"], ["t"])
    builder.add_call("two", second, {}, ["t"], ["y"])
    return builder.finish("mixed", "mixed", ["y"])


@pytest.mark.parametrize("order", ["ptx first", "triton first"])
def test_calls_that_are_not_tritons_are_left_to_their_reference(order: str) -> None:
    sources = load(COPY_PTX) + load(DOUBLE)
    names = ["mutants::copy_ptx", "definitions::double"]
    built = build(mixed(*(names if order == "ptx first" else names[::-1])), sources)
    found = {c.subject: (c.status, c.detail) for c in built.found if c.name == "interpreter"}
    outcomes = sorted(found.values())
    assert outcomes.pop() == ("skipped", "not a Triton kernel")
    assert len(outcomes) == 2
    assert all(map(compared, outcomes))


def test_a_call_that_needs_the_result_of_one_that_cannot_run_is_skipped(tmp_path: Path) -> None:
    first, sources = edited(tmp_path, COPY_PTX, {"RECIPE = Recipe(": "NONE = Recipe("})
    sources += load(DOUBLE)
    built = build(mixed(first, "definitions::double"), sources)
    found = {c.subject: (c.status, c.detail) for c in built.found if c.name == "interpreter"}
    reason = ("skipped", "one is not a Triton kernel and has no reference")
    assert found["two.portable.fp32-fp32.t1"] == found["two.portable.fp32-fp32.t2"] == reason


def test_of_several_compilations_the_chosen_one_runs(tmp_path: Path) -> None:
    """As an `aot_impl` does that takes the better of two block sizes: they differ in constants, not in name."""
    new = "    common = dict(x_ptr=x, y_ptr=outputs[0], n=n, num_warps=1)\n"
    new += "    made = [aot_kernel(double_kernel, **common, BLOCK=b, grid=trtp.cdiv(n, b)) for b in (128, 64, 32)]\n"
    new += "    return made[CHOICE]\n"
    for choice in (0, 1, 2):
        edits = {RETURN: new.replace("CHOICE", str(choice)), ', "LINEAR", [1, 2]': ""}
        assert compared(detail(tmp_path, DOUBLE, edits))


def test_an_aot_impl_that_remembers_its_kernel_runs_once(tmp_path: Path) -> None:
    then = "\n    MADE.append(made)\n    return made\n\n\nMADE = []"
    edits = {
        "    return aot_kernel(": "    if MADE:\n        return MADE[0]\n    made = aot_kernel(",
        "\n\n\ndef double_reference": f"{then}\n\n\ndef double_reference",
        ', "LINEAR", [1, 2]': "",
    }
    plugin, sources = edited(tmp_path, DOUBLE, edits)
    made = network(plugin, tensor("x", "3 48"))
    built = build(made, sources)
    again = build(made, sources)
    # Its first case runs; at the second, of the other data, nothing is compiled.
    assert built.checks["interpreter"].status == "passed", built.found
    assert again.checks["interpreter"].detail == "not a Triton kernel"


REFERENCES: list[tuple[str, str]] = [
    ("1 / 0", "the reference of recipe double raises ZeroDivisionError: division by zero"),
    ("(x, x)", "the reference of recipe double returns 2 arrays, "),
    ("x[1:]", "y: shape (2, 48) instead of (1, 48)"),
    ("np.where(x == x, x + x, 0)", "instead of 0.0"),
]


@pytest.mark.parametrize(("reference", "expected"), REFERENCES)
def test_a_wrong_reference_is_a_failure_not_a_crash(reference: str, expected: str, tmp_path: Path) -> None:
    good = "return x + x if np.issubdtype(x.dtype, np.integer) else 2 * x.astype(np.float64)"
    status, said = detail(tmp_path, DOUBLE, {good: f"return {reference}", ', "LINEAR", [1, 2]': ""})
    assert (status, expected in said) == ("failed", True), said


def test_of_a_large_grid_programs_are_sampled_at_the_true_shape(tmp_path: Path) -> None:
    edits = {', "LINEAR", [1, 2]': ""}
    large = tensor("x", "7 9001")
    status, said = detail(tmp_path, DOUBLE, edits, large)
    assert (status, said.startswith("against the reference, at static x 7x9001 (64 of 985 programs); elements ")) == (
        "passed",
        True,
    )
    baked = {**edits, "n=n,": "n=n + 1,"}
    status, said = detail(tmp_path, DOUBLE, baked, large)
    assert (status, "out-of-range" in said) == ("failed", True), said


def test_the_recipes_odd_shapes_are_run(tmp_path: Path) -> None:
    edits = {', "LINEAR", [1, 2]': "", "reference=double_reference,": "reference=double_reference,\nodd_shapes=ODD,"}
    edits |= {"RECIPE = Recipe(": "ODD = (((5,),), ((1, 65),), ((2, 2, 2, 3),))\nRECIPE = Recipe("}
    status, said = detail(tmp_path, DOUBLE, edits)
    assert (status, "min x 1x48, large x 7x48, 3 odd shapes; all programs" in said) == ("passed", True)
    tail = {"tl.store(y_ptr + i, (x + x).to(x.dtype), mask=i < n)": "tl.store(y_ptr + i, x + x, mask=i < n // 8 * 8)"}
    status, said = detail(tmp_path, DOUBLE, {**edits, **tail})
    assert status == "failed"
    assert said.endswith(": 5 of 5 elements of y were not written; at x 5, random data")


def test_a_reference_that_fails_at_an_odd_shape_is_a_failure(tmp_path: Path) -> None:
    edits = {', "LINEAR", [1, 2]': "", "reference=double_reference,": "reference=double_reference,\nodd_shapes=ODD,"}
    edits |= {
        "RECIPE = Recipe(": "ODD = (((5,),),)\nRECIPE = Recipe(",
        "    return x + x if": "    x[0, 0]\n    return x + x if",
    }
    status, said = detail(tmp_path, DOUBLE, edits)
    assert (status, "the reference of recipe double raises IndexError" in said) == ("failed", True), said


def test_odd_shapes_that_the_plugin_refuses_do_not_count(tmp_path: Path) -> None:
    edits = {', "LINEAR", [1, 2]': "", "reference=double_reference,": "reference=double_reference,\nodd_shapes=ODD,"}
    edits |= {"RECIPE = Recipe(": "ODD = (((5,),),)\nRECIPE = Recipe("}
    refusal = "if x.ndim != 2:\n        raise ValueError('two dimensions')"
    edits |= {"    return x.like()": f"    {refusal}\n    return x.like()"}
    assert compared(detail(tmp_path, DOUBLE, edits))


ATOMICS = {
    "tl.atomic_add(y_ptr + i, x, mask=i < n)": "reads y where nothing was written",
    "tl.atomic_add(x_ptr + i, x)": "writes to x, which is an input",
    "tl.atomic_add(x_ptr + i, x, mask=i < n)": "writes to x, which is an input",
    "tl.atomic_cas(y_ptr, 0.0, 1.0)": "reads y where nothing was written",
    "tl.atomic_cas(x_ptr + n, 0.0, 1.0)": "out-of-range read: byte 384 of x",
    "tl.atomic_max(x_ptr - 1, 0.0)": "out-of-range read: byte -4 of x",
}


@pytest.mark.parametrize(("statement", "said"), ATOMICS.items())
def test_atomics_are_watched(statement: str, said: str, tmp_path: Path) -> None:
    store = "tl.store(y_ptr + i, (x + x).to(x.dtype), mask=i < n)"
    types = {'TYPES = "FP32|FP16|BF16|INT8|INT32"': 'TYPES = "FP32"', ', "LINEAR", [1, 2]': ""}
    status, found = detail(tmp_path, DOUBLE, {store: f"{statement}\n    {store}", **types})
    assert (status, said in found) == ("failed", True), found


def test_loops_over_what_is_only_known_at_run_time(tmp_path: Path) -> None:
    old = "tl.store(y_ptr + i, (x + x).to(x.dtype), mask=i < n)"
    loop = "y = x * 0\n    for _ in range(n // n, tl.cdiv(n, n) + 2):\n        y += x\n    "
    edits = {old: f"{loop}tl.store(y_ptr + i, y, mask=i < n)", 'TYPES = "FP32|FP16|BF16|INT8|INT32"': 'TYPES = "INT32"'}
    outcome = detail(tmp_path, DOUBLE, {**edits, ', "LINEAR", [1, 2]': ""}, tensor("x", "N=1/3/9 48", "int32"))
    assert compared(outcome)


def test_an_address_is_told_from_the_nearest_tensor() -> None:
    a, b = (interpreted.Buffer(n, np.zeros(250, np.float32), initialised=True) for n in "ab")
    a.address, b.address = 0x1000, 0x1400
    watch = interpreted.Watch([a, b])
    for address, told in ((0x1000 + 1008, "byte 1008 of a"), (0x1400 - 8, "byte -8 of b"), (0x2000, "byte 3072 of b")):
        with pytest.raises(interpreted.AccessError, match=rf"out-of-range read: {told} \(1000 bytes\)"):
            watch.access("read", np.array([address]), np.array([True]), 4)
    with pytest.raises(interpreted.AccessError, match="byte 998 of a"):  # its last two bytes are inside
        watch.access("write", np.array([0x1000 + 998]), np.array([True]), 4)


NARROW = {
    "x + x": "2 * a",
    "x * x - x": "(a * a).astype(t).astype(f) - a",
    "0 - x": "0.0 - a",
    "x / 3.0": "a / 3.0",
    "tl.fma(x, x, x)": "a * a + a",
    "tl.where(x < 0.5, x, 0.5)": "np.where(a < 0.5, a, 0.5)",
    "tl.where(x == x, 1.0, 0.0)": "np.where(np.isnan(a), 0.0, 1.0)",
    "(x.to(tl.float32) * 1.7)": "(x.astype(f) * np.float32(1.7)).astype(np.float32)",
    "(i + n * 0)": "np.arange(a.size).reshape(a.shape)",
    "tl.maximum(x, 0.5)": "np.fmax(a, 0.5)",
    "tl.minimum(x.to(tl.float32), 0.5)": "np.fmin(a, 0.5)",
    "tl.abs(x)": "abs(a)",
    "tl.sqrt(tl.abs(x.to(tl.float32)))": "np.sqrt(abs(a))",
}


def test_bf16_is_computed_with_as_on_a_gpu(tmp_path: Path) -> None:
    """Triton's interpreter adds the bits of bf16 as if they were integers, and truncates where a GPU rounds."""
    cases = "\n    elif KIND == ".join(f"{n}:\n        y = {text}" for n, text in enumerate(NARROW))
    text = DOUBLE.read_text()
    edits = {
        "BLOCK: tl.constexpr):": "BLOCK: tl.constexpr, KIND: tl.constexpr):",
        "    tl.store(y_ptr + i, (x + x).to(x.dtype), mask=i < n)": f"    if KIND == {cases}\n"
        "    tl.store(y_ptr + i, y.to(y_ptr.dtype.element_ty), mask=i < n)",
        "BLOCK=block,": "BLOCK=block, KIND=kind,",
        "x: trtp.TensorDesc) -> trtp.TensorDesc": "x: trtp.TensorDesc, kind: int) -> trtp.TensorDesc",
        "x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic": "x: trtp.TensorDesc, kind: int, "
        "outputs: Tuple[trtp.TensorDesc], tactic",
        ', "LINEAR", [1, 2]': "",
        "def double_reference(x):": "def double_reference(x, kind):\n"
        f"    a, f, t = x.astype(np.float64), np.float64, x.dtype\n"
        f"    return eval({list(NARROW.values())!r}[kind], {{**globals(), **locals()}})\n",
    }
    assert all(old in text for old in edits)
    plugin, sources = edited(tmp_path, DOUBLE, edits)
    builder = NetworkBuilder()
    builder.add_input(tensor("x", "7 99", "bf16"))
    for kind in range(len(NARROW)):
        builder.add_call(f"call_{kind}", plugin, {"kind": kind}, ["x"], [f"y{kind}"])
    made = builder.finish("narrow", "narrow", [f"y{kind}" for kind in range(len(NARROW))])
    results = build(made, interpret=False).results
    (last,) = interpreter.check(made, results[-1:], sources)  # it runs the calls before, too
    assert last.status == "passed", last.detail


def test_what_definitions_print_does_not_get_between(tmp_path: Path) -> None:
    edits = {', "LINEAR", [1, 2]': "", "n = x.shape_expr.numel()": "print('[]'); n = x.shape_expr.numel()"}
    assert detail(tmp_path, DOUBLE, {**edits, "import numpy as np": "import numpy as np\nprint('{')"})[0] == "passed"
    loud = "import numpy as np\nimport os\nos.system('echo {')"
    assert detail(tmp_path, DOUBLE, {**edits, "import numpy as np": loud})[0] == "passed"


def test_a_kernel_that_the_interpreter_cannot_run_says_why(tmp_path: Path) -> None:
    edits = {', "LINEAR", [1, 2]': "", "x = tl.load": "tl.static_assert(BLOCK == 64)\n    x = tl.load"}
    assert detail(tmp_path, DOUBLE, edits)[0] == "passed"
    asm = "tl.inline_asm_elementwise('brev.b32 $0, $1;', '=r,r', [i], tl.int32, True, 1)"
    status, said = detail(tmp_path, DOUBLE, {**edits, "tl.load(x_ptr + i,": f"tl.load(x_ptr + {asm},"})
    instruction = "the instruction 'brev.b32 $0, $1' of inline assembly cannot be interpreted"
    assert (status, said) == ("skipped", f"double: Triton's interpreter cannot run the kernel: {instruction}")


def test_a_worker_that_dies_or_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, sources = edited(tmp_path, DOUBLE, {', "LINEAR", [1, 2]': ""})
    made = network(plugin, ROWS)
    results = build(made, interpret=False).results
    with pytest.raises(CheckError, match=r"Triton's interpreter failed: .*no such file: .*gone.py"):
        interpreter.check(made, results, [str(tmp_path / "gone.py")])
    monkeypatch.setattr(interpreter, "TIME_LIMIT", 0.001)
    with pytest.raises(CheckError, match=r"Triton's interpreter took more than 0.001 s"):
        interpreter.check(made, results, sources)


def test_nothing_to_run_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "_run", lambda *arguments: pytest.fail("a process was started"))
    load(COPY_PTX)
    assert build(network("mutants::copy_ptx", ROWS)).checks["interpreter"].status == "skipped"


def test_expressions_reach_the_worker_as_json() -> None:
    made = network("definitions::double", ROWS) if load(DOUBLE) else None
    assert made is not None
    job = interpreter._job(build(made, interpret=False, tactic=2).results[0])
    again = json.loads(json.dumps(job))
    assert expressions.from_json(again["extra_args"][0]) == operation(Op.PROD, Symbol("N"), 48)
    assert again["dtypes"] == ["fp32", "fp32"]
    assert again["tactic"] == 2
    assert again["compilations"][0]["metadata"]["num_warps"] == 1


ASSEMBLY = 'tl.inline_asm_elementwise("brev.b32 $0, $1;", "=r,r", [x], dtype=tl.float32, is_pure=True, pack=1)'


@pytest.mark.parametrize(
    ("block", "status", "said"),
    [
        ("n.constant_value()", "failed", "x 5, where it does not compile"),
        ("16", "passed", "; not run: double: Triton's interpreter cannot run the kernel: the instruction 'brev"),
    ],
)
def test_where_the_interpreter_fails_at_an_odd_shape_the_compiler_decides(
    block: str, status: str, said: str, tmp_path: Path
) -> None:
    """A block of 5 is the kernel's fault, assembly the interpreter's."""
    edits = {', "LINEAR", [1, 2]': "", "reference=double_reference,": "reference=double_reference,\nodd_shapes=ODD,"}
    edits |= {"RECIPE = Recipe(": "ODD = (((5,),),)\nRECIPE = Recipe(", "FP32|FP16|BF16|INT8|INT32": "FP32"}
    edits |= {"BLOCKS.get(tactic, 64)": f"{block} if n.is_constant else 64"}
    edits |= {"    tl.store(y_ptr": f"    if BLOCK == 16:\n        x = {ASSEMBLY}\n    tl.store(y_ptr"}
    outcome = detail(tmp_path, DOUBLE, edits)
    assert (outcome[0], said in outcome[1]) == (status, True), outcome
