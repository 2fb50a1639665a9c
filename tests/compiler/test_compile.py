# SPDX-License-Identifier: Apache-2.0
"""Which variants a network is compiled into, and what their PTX is."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from building import MODULES, build, edited, load, network, tensor
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import CUDABackend
from triton.compiler.compiler import make_backend
from triton.runtime import driver

from aotfactory.compiler import warm_up as warming
from aotfactory.compiler.compile import Options, compile_network
from aotfactory.compiler.cross_compile import compiling_for
from aotfactory.core.arch import PtxIsa, parse_archs
from aotfactory.core.errors import DefinitionError, UsageError

MUTANTS = Path(__file__).resolve().parents[1] / "mutants"
COPY = MUTANTS / "copy_ptx.py"
ROWS = tensor("x", "N=1/3/9 48")
LOAD = "ld.global.b32 %r5, [%rd4];"

load(MODULES / "double.py")
DOUBLE = network("definitions::double", ROWS)


def ids(**options: object) -> list[str]:
    return [result.id for result in build(DOUBLE, interpret=False, **options).results]  # type: ignore[arg-type]


def test_the_networks_own_types_every_tactic_every_architecture() -> None:
    assert ids(archs="sm_80,sm_90") == [
        "double.sm_80.fp32-fp32.t1",
        "double.sm_80.fp32-fp32.t2",
        "double.sm_90.fp32-fp32.t1",
        "double.sm_90.fp32-fp32.t2",
    ]


def test_all_types() -> None:
    every = [f"double.portable.{d}-{d}.t{t}" for d in ("fp32", "fp16", "bf16", "int8", "int32") for t in (1, 2)]
    assert ids(all_dtypes=True) == every


def test_one_tactic() -> None:
    assert ids(tactic=2) == ["double.portable.fp32-fp32.t2"]
    with pytest.raises(UsageError, match=r"definitions::double has no tactic 3 here\n  hint: its tactics: 1, 2"):
        ids(tactic=3)


def test_a_tactic_that_only_some_combinations_have() -> None:
    images = network("definitions::double", tensor("x", "1 8 2 2", "fp16"))
    assert [r.id for r in build(images, interpret=False).results] == [
        "double.portable.fp16-fp16.t1",
        "double.portable.fp16-fp16.t2",
        "double.portable.fp16.hwc-fp16.hwc.t0",
    ]
    (only,) = build(images, interpret=False, tactic=0).results
    assert only.id == "double.portable.fp16.hwc-fp16.hwc.t0"
    assert only.variant is not None
    assert only.variant.formats == ("hwc", "hwc")


def test_types_that_the_plugin_does_not_offer() -> None:
    wide = network("definitions::double", tensor("x", "N=1/3/9 48", "int64"))
    message = r"autotune of definitions::double offers no combination for int64-int64, which this network needs"
    with pytest.raises(DefinitionError, match=message) as caught:
        build(wide, interpret=False)
    assert caught.value.hint == "it offers fp32-fp32, fp16-fp16, bf16-bf16, int8-int8, int32-int32"
    assert re.search(r"double\.py:\d+", str(caught.value))
    assert len(build(wide, interpret=False, all_dtypes=True).results) == 10


def test_names_are_unique_and_tell_what_is_in_them() -> None:
    load(MODULES / "bump.py")
    made = network("definitions::bump", ROWS, attributes={"delta": 3}, length=2)
    results = build(made, interpret=False, archs="sm_80,sm_90,portable", all_dtypes=True).results
    results += build(DOUBLE, interpret=False, archs="sm_80,sm_90,portable", all_dtypes=True).results
    variants = [r.variant for r in results if r.variant]
    assert len(variants) == 2 * 2 * 3 + 10 * 3
    for names in ([v.id for v in variants], [v.kernel for v in variants], [v.ptx for v in variants]):
        assert len(set(names)) == len(names)
    for variant in variants:
        assert f".visible .entry {variant.kernel}(" in variant.text
        assert variant.id.startswith(f"{variant.call}.{variant.arch}.")
        assert variant.ptx == f"{variant.id}.{hashlib.sha256(variant.text.encode()).hexdigest()[:8]}.ptx"


def test_progress_is_told_each_variant_before_it_is_compiled() -> None:
    told: list[str] = []
    results = compile_network(DOUBLE, Options(archs=parse_archs("sm_90")), told.append)
    assert told == [r.id for r in results] == ["double.sm_90.fp32-fp32.t1", "double.sm_90.fp32-fp32.t2"]


@pytest.mark.parametrize(
    ("arch", "isa", "target", "written"),
    [
        ("portable", "8.0", "sm_80", "8.0"),
        ("sm_80", "8.0", "sm_80", "8.0"),
        ("sm_75", "8.0", "sm_75", "8.0"),
        ("sm_90", "8.0", "sm_90", "8.0"),
        ("sm_90", "8.4", "sm_90", "8.4"),
        ("sm_100", "8.6", "sm_100", "8.6"),
    ],
)
def test_plain_targets_and_the_isa_that_was_asked_for(arch: str, isa: str, target: str, written: str) -> None:
    """Triton writes sm_90a and sm_100a, and its own newest ISA."""
    built = build(DOUBLE, archs=arch, isa=isa, tactic=1, interpret=False)
    assert not built.failed
    variant = built.variant
    assert (variant.arch, variant.ptx_target, variant.ptx_isa) == (arch, target, written)
    assert variant.text.startswith(f".version {written}\n.target {target}\n")
    assert f".version {isa}" in built.result.compilations[0].ptx  # asked of Triton, not only written over its own


def test_an_isa_that_does_not_know_the_architecture() -> None:
    with pytest.raises(UsageError, match=r"PTX ISA 7.0 does not know sm_90\n  hint: --ptx-isa 8.0"):
        build(DOUBLE, archs="sm_90", isa="7.0")


SM_90A = {".target sm_80": ".target sm_90a", ".version 7.0": ".version 8.0"}


@pytest.mark.parametrize(
    ("instruction", "target"), [("", "sm_90"), ("wgmma.fence.sync.aligned;", "sm_90a")], ids=["plain", "wgmma"]
)
def test_the_arch_specific_target_stays_where_ptxas_needs_it(instruction: str, target: str, tmp_path: Path) -> None:
    plugin, _ = edited(tmp_path, COPY, {**SM_90A, LOAD: f"{LOAD} {instruction}"})
    built = build(network(plugin, ROWS), archs="sm_90", isa="8.0")
    assert not built.failed, built.failed
    assert (built.variant.ptx_target, built.checks["ptxas"].status) == (target, "passed")


@pytest.mark.parametrize(("version", "isa", "written"), [("7.0", "8.6", "7.0"), ("8.8", "8.0", "8.0")])
def test_hand_written_ptx_keeps_an_older_isa_and_gives_up_a_newer_one(
    version: str, isa: str, written: str, tmp_path: Path
) -> None:
    plugin, _ = edited(tmp_path, COPY, {".version 7.0": f".version {version}"})
    built = build(network(plugin, ROWS), isa=isa)
    assert not built.failed
    assert built.variant.ptx_isa == written


def test_hand_written_ptx_is_built_the_same(tmp_path: Path) -> None:
    plugin, sources = edited(tmp_path, COPY)
    built = build(network(plugin, ROWS), sources, archs="portable")
    variant = built.variant
    assert variant.parameters == ("ptr", "i32", "ptr")
    assert [str(e) for e in variant.extra_args] == ["N*48"]
    assert str(variant.launch["grid_x"]) == "cdiv(N*48, 64)"
    assert variant.registers > 0
    assert variant.spills == 0
    assert built.result.compilations == ()
    assert [(c.name, c.status) for c in built.found] == [
        ("abi", "passed"),
        ("ptxas", "passed"),
        ("bounds", "passed"),
        ("interpreter", "skipped"),
    ]


def test_cuda_cpp_through_nvrtc_is_built_the_same() -> None:
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    try:
        nvrtc.nvrtcVersion()
    except Exception as error:  # of its own kinds, by version
        pytest.skip(f"NVRTC is not installed: {str(error).splitlines()[0]}")
    sources = load(MODULES / "cuda_cpp.py")
    built = build(network("definitions::cuda_cpp", ROWS), sources, isa="8.0")
    assert not built.failed, built.failed
    variant = built.variant
    assert (variant.parameters, variant.ptx_isa, variant.ptx_target) == (("ptr", "i32", "ptr"), "8.0", "sm_80")
    assert built.checks["interpreter"].detail == "not a Triton kernel"
    assert variant.registers > 0


def test_a_block_that_changes_with_the_shape_suits_a_kernel_that_allows_it(tmp_path: Path) -> None:
    edits = {".reqntid 64, 1, 1": ".maxntid 64, 1, 1", "launch.block_x = 64": "launch.block_x = x.shape_expr[0]"}
    plugin, _ = edited(tmp_path, COPY, edits)
    built = build(network(plugin, ROWS))
    assert not built.failed, built.failed
    assert str(built.variant.launch["block_x"]) == "N"


def test_where_abi_fails_there_is_no_variant_and_the_rest_is_skipped(tmp_path: Path) -> None:
    plugin, sources = edited(tmp_path, COPY, {'return "copy"': 'return "paste"'})
    built = build(network(plugin, ROWS), sources)
    assert built.result.variant is None
    assert [(c.name, c.status, c.detail) for c in built.found[1:]] == [
        ("ptxas", "skipped", "abi failed"),
        ("bounds", "skipped", "abi failed"),
        ("interpreter", "skipped", "abi failed"),
    ]


def test_where_ptxas_fails_bounds_are_checked_all_the_same(tmp_path: Path) -> None:
    edits = {LOAD: "ld.global.b32 %r5, %rd4;", "trtp.SymInt32(n)": "trtp.SymInt32(n * 100000000)"}
    plugin, _ = edited(tmp_path, COPY, edits)
    built = build(network(plugin, ROWS))
    assert set(built.failed) == {"ptxas", "bounds"}
    assert (built.variant.registers, built.variant.spills) == (None, None)


def test_the_text_is_the_same_from_any_directory(tmp_path: Path) -> None:
    """No line info, no path, no address, no counter."""
    texts = []
    for folder in ("one", "another/folder"):
        (tmp_path / folder).mkdir(parents=True)
        plugin, _ = edited(tmp_path / folder, MODULES / "double.py")
        built = build(network(plugin, ROWS), archs="sm_90,portable", isa="8.0", interpret=False)
        texts.append([r.variant.text for r in built.results if r.variant])
    assert len(texts[0]) == 4
    assert texts[0] == texts[1]
    assert not re.search(r"\.loc|\.file|debug|definitions_", "".join(texts[0]))
    # Triton leaves line info out already: its cache would bring back another directory's.
    assert not any(".loc" in c.ptx for r in built.results for c in r.compilations)


def test_tritons_hidden_parameters_are_gone() -> None:
    built = build(DOUBLE, tactic=1, interpret=False)
    entry = re.search(r"\.entry \w+\(([^)]*)\)", built.variant.text)
    assert entry is not None
    assert entry[1].count(".param") == 3
    assert re.search(r"removed double_kernel_param_3, double_kernel_param_4", built.checks["abi"].detail)


def test_ptxas_runs_once_for_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the PTX that ships: not also on what Triton wrote, unless it is refused."""
    assembled: list[str] = []
    make_cubin = CUDABackend.make_cubin
    monkeypatch.setattr(CUDABackend, "make_cubin", lambda *a: assembled.append("Triton's") or make_cubin(*a))
    assert build(DOUBLE, tactic=1, interpret=False).checks["ptxas"].status == "passed"
    assert not assembled


def test_who_launches_kernels_finds_none_without_its_cubin() -> None:
    backend = make_backend(GPUTarget("cuda", 80, 32))
    before = backend.hash()
    with compiling_for(80, 80, assemble=False):
        assert backend.hash() != before
    with compiling_for(80, 80):
        assert backend.hash() == before
    assert backend.hash() == before


def test_a_first_kernel_is_compiled_before_processes_are_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    compiled = warming.triton.compile
    monkeypatch.setattr(warming.triton, "compile", lambda source: names.append(compiled(source).metadata.name))
    warming.warm_up.cache_clear()  # another test may have warmed this process
    warming.warm_up()
    assert names == ["_kernel"]


def test_compiling_leaves_triton_as_it_was(tmp_path: Path) -> None:
    before = driver._active, CUDABackend.parse_options
    build(DOUBLE, tactic=1, interpret=False)
    assert (driver._active, CUDABackend.parse_options) == before
    plugin, _ = edited(tmp_path, MODULES / "double.py", {"i < n)\n    tl.store": "i < unknown)\n    tl.store"})
    with pytest.raises(DefinitionError, match=r"(?s)aot_impl of .*::double: .*unknown is not defined") as caught:
        build(network(plugin, ROWS), interpret=False)
    assert re.search(r"built_\d+\.py:\d+", str(caught.value))
    assert (driver._active, CUDABackend.parse_options) == before


SIGNATURE = """        signature={
            "a_ptr": "*fp32",
            "b_ptr": "*fp32",
            "n": "i32",
            "rows": "i32",
            "y_ptr": "*fp32",
            "BLOCK": "constexpr",
        },
"""


def test_a_signature_in_another_order_than_the_kernels(tmp_path: Path) -> None:
    """Triton goes by the names; so do the checks of types and of what was promised."""
    mixed = '{"BLOCK": "constexpr", "y_ptr": "*fp32", "n": "i32", "rows": "i32", "b_ptr": "*fp32", "a_ptr": "*fp32"}'
    plugin, _ = edited(tmp_path, MUTANTS / "shifted_sub.py", {SIGNATURE: f"        signature={mixed},\n"})
    inputs = tensor("a", "N=1/7/64 C=48"), tensor("b", "N=1/7/64 C=48")
    built = build(network(plugin, *inputs), interpret=False)
    assert not built.failed, built.failed
    assert built.result.compilations[0].divisible == {"a_ptr": 16, "n": 16}
    wrong = mixed.replace('"y_ptr": "*fp32"', '"y_ptr": "*fp16"')
    plugin, _ = edited(tmp_path, MUTANTS / "shifted_sub.py", {SIGNATURE: f"        signature={wrong},\n"})
    built = build(network(plugin, *inputs), interpret=False)
    assert "the kernel takes y as *fp16" in built.failed["abi"]


CHOICE = """    compiled = triton.compile(source, options={"num_warps": 1})
"""


@pytest.mark.parametrize(("chosen", "failed"), [(0, False), (1, True)])
def test_of_several_compilations_the_chosen_one_is_checked(chosen: int, failed: bool, tmp_path: Path) -> None:
    """They have one name; the second promises what is not so."""
    new = f"""    promises = {{**source.attrs, (3,): [["tt.divisibility", 16]]}}
    other = ASTSource(source.fn, source.signature, constexprs=source.constants, attrs=promises)
    compiled = [triton.compile(s, options={{"num_warps": w}}) for w, s in ((1, source), (2, other))][{chosen}]
"""
    plugin, _ = edited(tmp_path, MUTANTS / "shifted_sub.py", {CHOICE: new})
    built = build(network(plugin, tensor("a", "N=1/7/64 C=48"), tensor("b", "N=1/7/64 C=48")), interpret=False)
    assert set(built.failed) == ({"bounds"} if failed else set()), built.failed


def test_names_of_calls_make_file_names() -> None:
    from aotfactory.compiler.compile import variant_id
    from aotfactory.core.network import Call, Combination

    call = Call(name="layer/0 <a>.b", plugin="a::b", attributes={}, inputs=(), outputs=())
    combination = Combination(dtypes=("fp32", "fp16"), formats=("linear", "hwc8"))
    (arch,) = parse_archs("sm_90")
    assert variant_id(call, arch, combination, 3) == "layer_0__a__b.sm_90.fp32-fp16.hwc8.t3"
    assert PtxIsa.parse("8.0").number == 80
