# SPDX-License-Identifier: Apache-2.0
"""Validation: the references, the comparison, and the executors; with a stand-in launcher where there is no GPU."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aotfactory.api import build, validate
from aotfactory.compiler import bundle
from aotfactory.compiler.compile import Options
from aotfactory.core import check as checking
from aotfactory.core import dtypes
from aotfactory.core.arch import parse_archs
from aotfactory.core.check import Check
from aotfactory.core.errors import DefinitionError
from aotfactory.core.expressions import Constant
from aotfactory.core.recipe import Tolerance
from aotfactory.executors import compare as comparison
from aotfactory.executors import reference
from aotfactory.executors.inputs import make_input
from aotfactory.executors.native import launcher_check
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions

DYNAMIC = TargetOptions(min_shape={"x": (1, 2, 3, 3)}, opt_shape={"x": (1, 2, 8, 8)}, max_shape={"x": (2, 2, 9, 33)})


@pytest.fixture(scope="module")
def circ_pad(tmp_path_factory):
    return _build("circ_pad", DYNAMIC, tmp_path_factory.mktemp("circ_pad"))


@pytest.fixture(scope="module")
def inplace_add(tmp_path_factory):
    return _build("inplace_add", TargetOptions(shape={"x": (2, 3, 5, 7)}), tmp_path_factory.mktemp("inplace_add"))


def _build(recipe: str, request: TargetOptions, out: Path) -> Path:
    options = Options(archs=parse_archs("sm_80"))
    path = build.build_bundle(recipe, request=request, options=options, out=out, interpret=False).path
    assert path is not None
    return path


def _launcher(spoil):
    """A stand-in for the launcher that computes with the references, and then spoils what came out."""

    def run(path, *, inputs=None, tactic=None, env=None, launcher=None, check=True):
        network = bundle.read(path).network
        catalog = Catalog()
        catalog.load_all()
        runs = []
        for number in sorted({v.tactic for v in bundle.read(path).variants}) if inputs else []:
            outputs = {}
            for name, array in reference.outputs(network, catalog.for_plugin, inputs).items():
                outputs[name] = array.astype(dtypes.find(network.tensor(name).dtype).array)
            failures = spoil(number, outputs) or []
            runs.append(SimpleNamespace(tactic=number, outputs=outputs, failures=failures))
        return SimpleNamespace(runs=runs, report={"libraries": ["libc.so.6", "libcuda.so.1"]})

    return run


def _validate(monkeypatch, path, spoil):
    monkeypatch.setattr(launcher_check.cuda, "cuda_device_count", lambda: 1)
    monkeypatch.setattr(launcher_check, "build_launcher", lambda: Path("launcher"))
    monkeypatch.setattr(launcher_check, "run_launcher", _launcher(spoil))
    return validate.validate(path, executors=["launcher"])


def test_a_right_bundle_passes_at_every_case(monkeypatch, circ_pad):
    checks = _validate(monkeypatch, circ_pad, lambda tactic, outputs: None)
    assert {c.status for c in checks} == {"passed"}
    tactics = {v.tactic for v in bundle.read(circ_pad).variants}
    assert {c.subject for c in checks if c.name == "launcher"} == {f"circ_pad tactic {t}" for t in tactics}
    assert {c.detail for c in checks if c.name == "launcher"} == {
        "against the reference, at small, opt, max, inside, even, large, min"
    }
    assert [c.name for c in checks][-1] == "python-free"


def test_one_wrong_element_of_one_tactic_fails_that_tactic(monkeypatch, circ_pad):
    def spoil(tactic, outputs):
        if tactic == 2:
            outputs["y"].reshape(-1)[-1] += 1

    checks = _validate(monkeypatch, circ_pad, spoil)
    failed = [c for c in checks if c.status == "failed"]
    assert [c.subject for c in failed] == ["circ_pad tactic 2"]
    assert "1 of" in failed[0].detail
    assert "adversarial data" in failed[0].detail or "random data" in failed[0].detail


def test_what_the_launcher_finds_fails(monkeypatch, circ_pad):
    checks = _validate(monkeypatch, circ_pad, lambda tactic, outputs: ["guard of y: written"])
    assert all(c.status == "failed" and "guard of y: written" in c.detail for c in checks if c.name == "launcher")


def test_without_a_recipe_it_says_that_nothing_was_compared(monkeypatch, circ_pad):
    monkeypatch.setattr(launcher_check.reference, "outputs", lambda network, find_recipe, inputs: {})
    run = SimpleNamespace(tactic=1, outputs={}, failures=[])
    result = SimpleNamespace(runs=[run], report={"libraries": []})
    monkeypatch.setattr(launcher_check.cuda, "cuda_device_count", lambda: 1)
    monkeypatch.setattr(launcher_check, "build_launcher", lambda: Path("launcher"))
    monkeypatch.setattr(launcher_check, "run_launcher", lambda *args, **kwargs: result)
    checks = validate.validate(circ_pad, executors=["launcher"])
    assert "memory accesses only: the plugins have no recipe" in checks[0].detail


def test_the_size_of_the_chain_matters(monkeypatch, inplace_add):
    """The reference goes through both calls of the chain: the result of the first alone is wrong."""
    network = bundle.read(inplace_add).network
    delta = int(network.calls[0].attributes["delta"])

    def spoil(tactic, outputs):
        outputs["y"] -= delta

    assert delta != 0
    checks = _validate(monkeypatch, inplace_add, spoil)
    assert [c.status for c in checks if c.name == "launcher"] == ["failed"]


def test_a_library_of_python_in_the_process_fails(monkeypatch, circ_pad):
    result = SimpleNamespace(report={"libraries": ["libc.so.6", "libpython3.12.so.1.0"]})
    monkeypatch.setattr(launcher_check, "build_launcher", lambda: Path("launcher"))
    monkeypatch.setattr(launcher_check, "run_launcher", lambda *args, **kwargs: result)
    check = launcher_check.python_free(circ_pad)
    assert check.status == "failed"
    assert "libpython3.12" in check.detail


def test_without_python_the_data_is_that_of_the_other_runs(monkeypatch, circ_pad):
    """The launcher's own integers are no indices of every kind: a right kernel was called wrong for them on a GPU."""
    given = []
    run = _launcher(lambda tactic, outputs: None)

    def recording(path, **named):
        given.append((named.get("env"), dict(named["inputs"])))
        return run(path, **named)

    monkeypatch.setattr(launcher_check.cuda, "cuda_device_count", lambda: 1)
    monkeypatch.setattr(launcher_check, "build_launcher", lambda: Path("launcher"))
    monkeypatch.setattr(launcher_check, "run_launcher", recording)
    validate.validate(circ_pad, executors=["launcher"])
    assert given[-1][0] == {}
    assert given[-1][1].keys() == given[-2][1].keys() != set()
    assert all(given[-1][1][name] is array for name, array in given[-2][1].items())


def test_without_a_gpu_the_launcher_is_skipped_with_the_reason(monkeypatch, circ_pad):
    monkeypatch.setattr(launcher_check.cuda, "cuda_device_count", lambda: 0)
    checks = validate.validate(circ_pad, executors=["launcher"])
    assert [(c.name, c.status) for c in checks] == [("launcher", "skipped"), ("python-free", "skipped")]
    assert all("no GPU" in c.detail for c in checks)


def test_the_interpreter_takes_the_bundle_as_it_was_compiled(circ_pad):
    checks = validate.validate(circ_pad, executors=["interpreter"])
    assert len(checks) == len(bundle.read(circ_pad).variants)
    assert {c.status for c in checks} == {"passed"}
    assert all(c.detail.startswith("against the reference, at small x ") for c in checks)
    assert {c.compared for c in checks} == {"reference"}


TAMPERED = {
    "grid of one": (lambda v: {"launch": {**v.launch, "grid_x": Constant(1)}}, "elements of y were not written"),
    "extra argument": (lambda v: {"extra_args": (Constant(7), *v.extra_args)}, "TensorRT passes"),
    "block": (lambda v: {"launch": {**v.launch, "block_x": Constant(64)}}, "the bundle has block_x = 64"),
    "no launch": (lambda v: {"launch": {}}, "the bundle has launch parameters none"),
    "kernel name": (lambda v: {"kernel": "other"}, "the bundle has kernel other"),
    "parameters": (lambda v: {"parameters": ("ptr",)}, "the bundle has parameters"),
    "types": (lambda v: {"dtypes": ("int32", "int32")}, "the bundle has dtypes"),
}


@pytest.mark.parametrize(("change", "said"), TAMPERED.values(), ids=TAMPERED)
def test_the_verdict_is_on_the_bundles_own_launch_arguments_and_types(change, said, monkeypatch, circ_pad):
    made = bundle.read(circ_pad)
    changed = tuple(dataclasses.replace(v, **change(v)) for v in made.variants[:1])
    monkeypatch.setattr(validate.bundle, "read", lambda path: dataclasses.replace(made, variants=changed))
    (check,) = validate.validate(circ_pad, executors=["interpreter"])
    assert (check.status, said in check.detail) == ("failed", True), check.detail


def test_a_bundle_without_calls_is_refused(monkeypatch, circ_pad):
    made = bundle.read(circ_pad)
    monkeypatch.setattr(validate.bundle, "read", lambda path: dataclasses.replace(made, variants=()))
    with pytest.raises(DefinitionError, match="the bundle has no kernels"):
        validate.validate(circ_pad, executors=["interpreter"])


def test_nothing_judged_says_which_option_would_help():
    def check(name, status, detail, compared):
        return Check(name=name, subject="x", status=status, detail=detail, compared=compared)

    no_gpu = check("launcher", "skipped", "no GPU or NVIDIA driver on this machine", "nothing")
    good = check("interpreter", "passed", "", "memory")
    assert "nothing was validated: no GPU" in checking.nothing_judged([no_gpu])
    assert "--executor interpreter" in checking.nothing_judged([no_gpu])
    assert checking.nothing_judged([no_gpu, good]) is None
    assert "launcher is required" in checking.nothing_judged([no_gpu, good], ["interpreter", "launcher"])
    assert "runner is required, but was skipped: it was not asked" in checking.nothing_judged([good], ["runner"])
    gone = check("interpreter", "skipped", "the definitions here no longer give this kernel", "nothing")
    assert "--plugins" in checking.nothing_judged([gone])
    assert checking.summary([no_gpu, good, gone]) == "1 memory only, 2 skipped"


def test_a_bundle_that_the_definitions_no_longer_make_is_not_interpreted(monkeypatch, circ_pad):
    made = bundle.read(circ_pad)
    changed = [dataclasses.replace(v, text=v.text + "// other\n") for v in made.variants]
    monkeypatch.setattr(validate.bundle, "read", lambda path: dataclasses.replace(made, variants=tuple(changed)))
    checks = validate.validate(circ_pad, executors=["interpreter"])
    assert {c.status for c in checks} == {"skipped"}
    assert all("no longer give this kernel" in c.detail for c in checks)


@pytest.mark.parametrize(
    ("out", "expected", "tolerance", "wrong"),
    [
        ([1.0, np.nan], [1.0, np.nan], Tolerance(), None),
        ([1.0, np.nan], [1.0, 2.0], Tolerance(atol=10), "nan instead of 2.0"),
        ([1.0, 2.0], [1.0, np.nan], Tolerance(atol=10), "2.0 instead of nan"),
        # The sign of a zero is what a compiler fuses: a GPU gives another one than NumPy for right kernels.
        ([0.0, 1.0], [-0.0, 1.0], Tolerance(), None),
        ([0.0, 1.0], [-1e-45, 1.0], Tolerance(), "0.0 instead of -1e-45"),
        ([0.0, 1.0], [-0.0, 1.0], Tolerance(atol=1e-9), None),
        ([np.inf, 1.0], [-np.inf, 1.0], Tolerance(rtol=1), "inf instead of -inf"),
        ([np.inf, 1.0], [1e300, 1.0], Tolerance(), None),
        ([1.0, 1.001], [1.0, 1.0], Tolerance(rtol=1e-4), "1 of 2 elements differ, first at"),
        (
            [1.0, 1.5],
            [1.0, 1.0],
            Tolerance(rtol=1e-4),
            "largest error 0.5, 0.5 relative; tolerance atol=0, rtol=0.0001",
        ),
        (
            [1.0, 1.5],
            [1.0, 1.0],
            Tolerance(),
            'bit for bit was asked; to allow rounding, give the recipe tolerance={"fp32"',
        ),
        ([0.0, 1.0], [np.nan, 1.0], Tolerance(), "propagate_nan=tl.PropagateNan.ALL"),
        ([0.0, 1.5], [np.nan, 1.0], Tolerance(), "largest error 0.5"),
        # Beyond the type's range the reference is the infinity that it rounds to, whatever else differs.
        ([-np.inf, 1.0], [-5.6e38, 1.0000001], Tolerance(rtol=1e-5), None),
        ([-np.inf, 1.0], [-5.6e38, 1.1], Tolerance(rtol=1e-5), "1 of 2 elements differ, first at (1,)"),
        ([np.inf, 1.0], [3.4028e38, 1.0], Tolerance(rtol=1e-4), None),
        ([np.inf, 1.0], [3.4e38, 1.0], Tolerance(rtol=1e-5), "inf instead of 3.4e+38"),
        ([-np.inf, 1.0], [3.4028e38, 1.0], Tolerance(rtol=1e-4), "-inf instead of"),
        ([3.4028e38, 1.0], [np.inf, 1.0], Tolerance(rtol=1e-4), "instead of inf"),
        # Denormals have fewer digits.
        ([2.8e-45, 1.0], [4.1e-45, 1.0], Tolerance(rtol=1e-5), None),
        ([2.8e-41, 1.0], [4.1e-41, 1.0], Tolerance(rtol=1e-5), "1 of 2 elements"),
        ([1.0, 1.001], [1.0, 1.0], Tolerance(rtol=1e-2), None),
        ([1.0, 1.001], [1.0, 1.0], Tolerance(atol=1e-2), None),
    ],
)
def test_mismatch(out, expected, tolerance, wrong):
    found = comparison.mismatch(np.array(out, np.float32), np.array(expected), tolerance)
    assert (found is None) if wrong is None else (wrong in found)


def test_mismatch_of_shapes_and_scalars():
    assert "shape (2,) instead of (3,)" in comparison.mismatch(np.zeros(2), np.zeros(3), Tolerance())
    assert comparison.mismatch(np.array(3, np.int64), np.array(3.0), Tolerance()) is None
    assert "3 instead of 4" in comparison.mismatch(np.array(3, np.int64), np.array(4.0), Tolerance())
    half = comparison.mismatch(np.zeros(1, np.float32), np.ones(1), Tolerance(), "fp16")
    assert 'tolerance={"fp16": Tolerance(rtol=...)}' in half


@pytest.mark.parametrize("dtype", sorted(dtypes.DTYPES))
def test_data_is_the_same_everywhere_and_has_the_extremes(dtype):
    shape = (40, 50)
    for kind in ("random", "adversarial"):
        again = [make_input("x", dtype, shape, kind=kind).tobytes() for _ in range(2)]
        assert again[0] == again[1]
        assert again[0] != make_input("y", dtype, shape, kind=kind).tobytes()
    special = make_input("x", dtype, shape, kind="adversarial")
    assert special.dtype == dtypes.find(dtype).array
    values = special.astype(np.float64)
    if dtype in ("fp32", "fp16", "bf16", "fp8"):
        assert np.isnan(values).any()
        assert (np.signbit(values) & (values == 0)).any()
        assert np.isinf(values).any() == (dtype != "fp8")
    elif dtype != "bool":
        info = np.iinfo(special.dtype)
        assert {info.min, info.max} <= set(special.reshape(-1).tolist())
