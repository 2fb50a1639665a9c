# SPDX-License-Identifier: Apache-2.0
"""Kernels fitted to the calling convention of TensorRT's AOT plugins; every refusal by its message."""

from __future__ import annotations

import ptx_samples as samples
import pytest
import triton
from hypothesis import given, settings
from hypothesis import strategies as st
from ptx_samples import (
    BASE,
    NVRTC,
    POINTER,
    able,
    arch,
    copying,
    elementwise,
    fit_add,
    fit_k,
    module,
    product,
    shared,
)

from aotfactory.compiler.calling_convention import check_shared, fit, plain_target
from aotfactory.compiler.ptx import parse_module
from aotfactory.compiler.ptxas import assemble, compiler_isa
from aotfactory.core.arch import PORTABLE, PtxIsa
from aotfactory.core.errors import CheckError, DefinitionError

OLD_TRITON = tuple(int(n) for n in triton.__version__.split(".")[:2]) < (3, 7)


@pytest.mark.parametrize("name", ["sm_75", "sm_80", "sm_89", "sm_90", "sm_100", "sm_103", "sm_110", "sm_120", "sm_121"])
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "i32"])
def test_triton_kernels_fit_and_assemble(name, dtype):
    target = able(name)
    text = elementwise(target.capability, dtype, ptx_version=compiler_isa(target).number)
    isa = max(BASE, target.oldest_isa)
    fitted = fit_add(text, isa=isa, arch=target, new_name="add_variant_0")
    assert fitted.removed == ("add_param_3", "add_param_4")
    assert (fitted.parameters, fitted.unused) == (("ptr", "i32", "ptr"), ())
    assert (fitted.isa, fitted.entry) == (isa, "add_variant_0")
    assert f".version {isa}\n" in fitted.text
    (entry,) = parse_module(fitted.text).entries
    assert [parameter.kind for parameter in entry.parameters] == ["ptr", "i32", "ptr"]
    report = assemble(fitted.text, target, entry="add_variant_0")
    assert report.registers > 0
    assert (report.spill_stores, report.spill_loads, report.stack, report.warnings) == (0, 0, 0, ())
    assert assemble(plain_target(fitted.text), target).registers == report.registers
    assert fit_add(fitted.text, entry="add_variant_0", isa=isa).text == fitted.text


@pytest.mark.parametrize("name", ["sm_86", "sm_90", "sm_100", "sm_120"])
def test_portable_runs_on_later_architectures(name):
    assemble(fit_add(elementwise(), arch=PORTABLE).text, able(name))


def test_matmul_shared_memory():
    fitted = fit(product(80), entry="matmul", inputs=2, extra_args=2, outputs=1, shared_mem=65536, isa=BASE)
    assert shared(fitted)[1]
    assert assemble(fitted.text, PORTABLE).registers > 64
    with pytest.raises(DefinitionError, match=r"kernel matmul: 65536 bytes of shared memory, .* at most 49152"):
        check_shared(fitted, 65536)
    check_shared(fitted, 49152)


def test_plain_target_is_refused_where_the_kernel_needs_more():
    text = fit(product(90), entry="matmul", inputs=2, extra_args=2, outputs=1, isa=BASE).text
    assert ".target sm_90a\n" in text
    assemble(text, arch("sm_90"))
    with pytest.raises(CheckError, match=r"wgmma.* not supported on .target 'sm_90'"):
        assemble(plain_target(text), arch("sm_90"))


def test_plain_target():
    assert plain_target(module(target="sm_100f")) == module(target="sm_100")
    assert plain_target(module(target="sm_80")) == module(target="sm_80")


def test_reduction_uses_dynamic_shared_memory():
    text = samples.compiled(samples.row_sum, 80, "*fp32 i32 *fp32", "BLOCK=1024")
    fitted = fit(text, entry="row_sum", inputs=1, extra_args=1, outputs=1, shared_mem=16)
    assert shared(fitted) == (0, True)
    with pytest.raises(DefinitionError, match="uses dynamic shared memory, but the launch gives it 0 bytes"):
        fit(text, entry="row_sum", inputs=1, extra_args=1, outputs=1, shared_mem=0)
    assert not shared(fit_add(elementwise(), shared_mem=0))[1]


def test_nvrtc_kernels_fit_and_assemble():
    fitted = fit(NVRTC, entry="scale", inputs=1, extra_args=1, outputs=1, block=(256, 1, 1), isa=BASE, shared_mem=4)
    assert (fitted.parameters, fitted.removed) == (("ptr", "i32", "ptr"), ())
    assert shared(fitted) == (256, True)
    assert assemble(fitted.text, PORTABLE, entry="scale").shared == 256
    assert assemble(fitted.text, PORTABLE, entry="nothing").shared == 0
    template = fit(NVRTC, entry="_Z4copyIfEvPT_", inputs=0, extra_args=0, outputs=1, isa=BASE, new_name="copy_f32")
    assert shared(template) == (0, False)
    assert assemble(template.text, PORTABLE, entry="copy_f32").registers > 0
    assert fit(NVRTC, entry="nothing", inputs=0, extra_args=0, outputs=0).parameters == ()


def test_other_kernels_stay_as_they_are():
    fitted = parse_module(fit(NVRTC, entry="scale", inputs=1, extra_args=1, outputs=1, new_name="other").text)
    assert [entry.name for entry in fitted.entries] == ["other", "_Z4copyIfEvPT_", "nothing"]
    assert [len(entry.parameters) for entry in fitted.entries] == [3, 1, 0]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 4), st.integers(0, 4), st.integers(1, 3), st.integers(0, 2), st.booleans())
def test_fitted_text_always_assembles(inputs, extra_args, outputs, hidden, renamed):
    kinds = ["ptr"] * inputs + ["i32"] * extra_args + ["ptr"] * outputs
    declared = [POINTER if kind == "ptr" else ".param .u32 {}" for kind in [*kinds, *["ptr"] * hidden]]
    loads = [f"ld.param.{'u64 %rd1' if kind == 'ptr' else 'u32 %r1'}, [p{i}];" for i, kind in enumerate(kinds)]
    text = module(
        ", ".join(declaration.format(f"p{i}") for i, declaration in enumerate(declared)),
        ".reg .b64 %rd<2>;\n.reg .b32 %r<2>;\n" + "\n".join(loads),
    )
    fitted = fit_k(text, inputs, extra_args, outputs, new_name="renamed" if renamed else None)
    assert fitted.parameters == tuple(kinds)
    assert len(fitted.removed) == hidden
    assert fitted.unused == ()
    assemble(fitted.text, PORTABLE, entry=fitted.entry)


def test_the_only_parameters_may_be_hidden():
    fitted = fit_k(copying(0, hidden=2), 0, 0, 0)
    assert fitted.removed == ("p0", "p1")
    assert parse_module(fitted.text).entries[0].parameters == ()
    assemble(fitted.text, PORTABLE)


def test_rename_leaves_instructions_alone():
    fitted = fit_add(elementwise(), new_name="kernel_7")
    assert fitted.text.count("kernel_7") == 1
    assert "\tadd.s64" in fitted.text


def test_rename_covers_the_declaration():
    text = copying(2, before=f".visible .entry k({POINTER.format('a')}, {POINTER.format('b')});")
    fitted = fit_k(text, new_name="z")
    assert ".entry k" not in fitted.text
    assert assemble(fitted.text, PORTABLE, entry="z").registers > 0


def test_version_is_lowered_and_never_raised():
    assert fit_k(copying(2, version="9.0"), isa=PtxIsa(8, 3)).isa == (8, 3)
    older = fit_k(copying(2, version="8.0"), isa=PtxIsa(9, 0))
    assert older.isa == (8, 0)
    assert ".version 8.0\n" in older.text
    assert fit_k(copying(2, version="8.4")).isa == (8, 4)


DEBUG = """
.loc 1 2 3
.loc 1 9 0, function_name $L__info_string0, inlined_at 1 5 3
.loc 1 9 1, function_name $L__info_string0+4, inlined_at 1 5 3
bar.sync 0;
"""
SECTIONS = """
.file 1 "/home/someone//kernel.py"
.file 2 "other.py", 1700000000, 12
.section .debug_abbrev
{
.b8 1 // "
.b8 0
}
.section .debug_info { .b32 .debug_abbrev }
.section .debug_str
{
$L__info_string0:
.b8 107
.b8 0
}
.section .debug_macinfo { }
"""


def test_line_info_is_stripped():
    plain = copying(2, body="bar.sync 0;\n")
    text = copying(2, body=DEBUG, target="sm_80, debug") + SECTIONS
    assert fit_k(text).text == fit_k(plain).text
    assemble(fit_k(text).text, PORTABLE)


def test_triton_line_info_is_stripped():
    text = elementwise()
    assert ".loc" in text
    assert "ptx_samples.py" in text
    fitted = fit_add(text).text
    for word in (".loc", ".file", ".section", "ptx_samples", "//", "\n\n"):
        assert word not in fitted


def test_line_endings_and_trailing_nul_do_not_matter():
    text = copying(2)
    assert fit_k(text.replace("\n", "\r\n") + "\0").text == fit_k(text).text


# Refusals


def test_refuses_scratch_memory():
    text = samples.compiled(samples.tma_copy, 90, "*fp16 i32 i32 *fp16", "BLOCK=64", True)
    with pytest.raises(DefinitionError, match=r"uses tma_copy_param_4 after the 4 .* scratch memory(.|\n)*descriptor"):
        fit(text, entry="tma_copy", inputs=1, extra_args=2, outputs=1)


@pytest.mark.parametrize("used", ["p3", "p4"])
def test_refuses_either_hidden_parameter_when_used(used):
    text = copying(3, hidden=2, body=f"ld.param.u64 %rd0, [{used}];\n")
    with pytest.raises(DefinitionError, match=f"uses {used} after the 3 parameters"):
        fit_k(text, 2)


@pytest.mark.parametrize(
    ("passed", "message"),
    [
        ({"inputs": 2, "extra_args": 3}, r"takes 5 parameters .* passes 6 \(ptr, ptr, i32, i32, i32, ptr\)"),
        ({"inputs": 0}, r"takes 5 parameters \(ptr, i32, ptr, ptr, ptr\), TensorRT passes 2 \(i32, ptr\)"),
        ({"extra_args": 2}, r"parameter 2 \(add_param_2\) is declared as ptr, TensorRT passes an int32 there \(extra "),
        ({"inputs": 2}, r"parameter 1 \(add_param_1\) is declared as i32, .* passes a pointer there \(input 1\)"),
        ({"extra_args": 0, "outputs": 2}, r"parameter 1 .* declared as i32, .* a pointer there \(output 0\)"),
    ],
)
def test_refuses_a_wrong_number_of_parameters(passed, message):
    with pytest.raises(DefinitionError, match=message):
        fit_add(elementwise(), **passed)


def test_refuses_three_parameters_too_many():
    with pytest.raises(DefinitionError, match="takes 5 parameters"):
        fit_k(copying(2, hidden=3))


def test_refuses_an_unused_parameter_that_is_not_marked_as_a_pointer():
    text = module(", ".join(f".param .u64 p{i}" for i in range(3)), ".reg .b64 %a;\nld.param.u64 %a, [p1];")
    with pytest.raises(DefinitionError, match="takes 3 parameters"):
        fit_k(text)


def test_refuses_a_missing_output_that_scratch_would_fill():
    text = samples.compiled(samples.no_output, 80, "*fp32 i32", "BLOCK=256")
    with pytest.raises(DefinitionError, match=r"never uses the pointer of output 0 \(parameter no_output_param_2\)"):
        fit(text, entry="no_output", inputs=1, extra_args=1, outputs=1)


def test_a_name_that_contains_the_parameter_is_no_use_of_it():
    text = copying(2, hidden=2, body=".reg .b32 x_p3, p3_x, $p3, %p3, p3$;\nmov.u32 x_p3, p3_x;\nmov.u32 p3$, %p3;\n")
    assert fit_k(text).removed == ("p2", "p3")
    assemble(fit_k(text).text, PORTABLE)


def test_an_aliased_output_may_stay_unused():
    text = samples.compiled(samples.in_place, 80, "*fp32 i32 *fp32", "BLOCK=256")
    fitted = fit(text, entry="in_place", inputs=1, extra_args=1, outputs=1, aliased={0})
    assert fitted.unused == (2,)
    assert len(fitted.removed) == 2
    with pytest.raises(DefinitionError, match="never uses the pointer of output 0"):
        fit(text, entry="in_place", inputs=1, extra_args=1, outputs=1)


@pytest.mark.parametrize(
    ("declaration", "kind"),
    [(".param .f32 p0", "f32"), (".param .s64 p0", "i64"), (".param .u16 p0", "i16"), (".param .u64 p0", "u64"),
     (".param .align 4 .b8 p0[4]", "bytes")],
)  # fmt: skip
def test_refuses_extra_arguments_that_are_not_int32(declaration, kind):
    text = module(f"{declaration}, {POINTER.format('p1')}", ".reg .b64 %a;\nld.param.u64 %a, [p1];")
    with pytest.raises(DefinitionError, match=rf"parameter 0 \(p0\) is declared as {kind}, TensorRT passes an int32"):
        fit_k(text, 0, 1, 1)


@pytest.mark.parametrize("unused", [0, 1])
def test_every_output_is_written(unused):
    """Among inputs, an extra argument and two outputs it is the right parameter that counts."""
    names = [POINTER.format("p0"), ".param .u32 p1", POINTER.format("p2"), POINTER.format("p3")]
    used = f"p{3 - unused}"
    text = module(",\n".join(names), f".reg .b64 %a;\nld.param.u64 %a, [{used}];")
    with pytest.raises(DefinitionError, match=rf"the pointer of output {unused} \(parameter p{2 + unused}\)"):
        fit_k(text, 1, 1, 2)
    fitted = fit_k(text, 1, 1, 2, aliased={unused})
    assert fitted.unused == (0, 1, 2 + unused)


def test_refuses_a_64_bit_integer_for_a_pointer():
    text = module(f".param .u64 p0, {POINTER.format('p1')}", ".reg .b64 %a;\nld.param.u64 %a, [p1];")
    with pytest.raises(DefinitionError, match=r"parameter 0 \(p0\) is declared as u64, TensorRT passes a pointer"):
        fit_k(text)


@pytest.mark.skipif(OLD_TRITON, reason="this Triton does not state the size of a cluster")
def test_takes_triton_clusters():
    assert fit_add(elementwise(90, num_ctas=2, ptx_version=87)).cluster == (2, 1, 1)


def test_takes_clusters_that_the_ptx_states():
    text = copying(2, directives=".explicitcluster\n.reqnctapercluster 2, 2", target="sm_90")
    fitted = fit_k(text, arch=arch("sm_90"))
    assert fitted.cluster == (2, 2, 1)
    assert fit_k(text, arch=arch("sm_100")).cluster == (2, 2, 1)
    assemble(fitted.text, arch("sm_90"))


@pytest.mark.parametrize(
    ("stated", "cluster"),
    [("", (1, 1, 1)), ("1", (1, 1, 1)), ("8", (8, 1, 1)), ("2, 4", (2, 4, 1)), ("2, 2, 2", (2, 2, 2))],
)
def test_extents_of_clusters(stated, cluster):
    directives = f".explicitcluster\n.reqnctapercluster {stated}" if stated else ""
    fitted = fit_k(copying(2, directives=directives, target="sm_90"), arch=arch("sm_90"))
    assert (fitted.cluster, fitted.cluster_at_launch) == (cluster, None)


@pytest.mark.parametrize(("stated", "blocks"), [("9", 9), ("3, 3", 9), ("2, 2, 3", 12)])
def test_refuses_clusters_by_all_their_extents(stated, blocks):
    text = copying(2, directives=f".explicitcluster\n.reqnctapercluster {stated}", target="sm_90")
    with pytest.raises(DefinitionError, match=f"it demands clusters of {blocks} blocks"):
        fit_k(text, arch=arch("sm_90"))


def test_takes_larger_clusters_for_a_library():
    text = copying(2, directives=".explicitcluster\n.reqnctapercluster 16", target="sm_90")
    assert fit_k(text, arch=arch("sm_90"), largest_cluster=16).cluster == (16, 1, 1)
    with pytest.raises(DefinitionError, match="it demands clusters of 16 blocks") as refused:
        fit_k(text, arch=arch("sm_90"))
    assert "--road library" in refused.value.hint


IN_CLUSTERS = {"target": "sm_90", "body": "mov.u32 %r1, %clusterid.x;\n"}


@pytest.mark.parametrize(
    ("directives", "given", "cluster"),
    [
        ("", (2, 1, 1), (1, 1, 1)),
        ("", (2, 2, 2), (1, 1, 1)),
        (".explicitcluster", (2, 1, 1), (1, 1, 1)),
        (".explicitcluster\n.reqnctapercluster 2", (2, 1, 1), (2, 1, 1)),
        (".explicitcluster\n.reqnctapercluster 2, 2", (2, 2, 1), (2, 2, 1)),
    ],
)
def test_takes_clusters_that_the_launch_states(directives, given, cluster):
    """What is returned is the PTX's own."""
    text = copying(2, directives=directives, **IN_CLUSTERS)
    fitted = fit_k(text, arch=arch("sm_90"), cluster=given)
    assert (fitted.cluster, fitted.cluster_at_launch) == (cluster, given if cluster == (1, 1, 1) else None)
    if cluster == (1, 1, 1):
        with pytest.raises(DefinitionError, match="does not state their size"):
            fit_k(text, arch=arch("sm_90"))


@pytest.mark.parametrize(
    ("directives", "given", "name", "message"),
    [
        (".reqnctapercluster 2", (4, 1, 1), "sm_90", r"clusters of \(2, 1, 1\) blocks .*, the launch has \(4, 1, 1\)"),
        (".reqnctapercluster 2", (1, 2, 1), "sm_90", r"clusters of \(2, 1, 1\) blocks .*, the launch has \(1, 2, 1\)"),
        ("", (3, 3, 1), "sm_90", "it demands clusters of 9 blocks"),
        ("", (2, 1, 1), "sm_80", "clusters of 2 blocks, which sm_80 does not have"),
        ("", (2, 1, 1), "portable", "clusters of 2 blocks, which portable does not have"),
    ],
)
def test_refuses_clusters_that_the_launch_cannot_have(directives, given, name, message):
    text = copying(2, directives=directives, **IN_CLUSTERS)
    with pytest.raises(DefinitionError, match=message):
        fit_k(text, arch=arch(name), cluster=given)


@pytest.mark.parametrize(
    ("declared", "kind", "passed"),
    [(".u64", "i64", None), (".s64", "i64", None), (".b32", "fp32", None), (".f32", "fp32", None),
     (".u32", "i32", None),
     (".u32", "i64", "an int64"), (".u64", "fp32", "an fp32"), (".f32", "i32", "an int32")],
)  # fmt: skip
def test_kinds_of_extra_arguments(declared, kind, passed):
    text = module(
        f"{POINTER.format('p0')}, .param {declared} p1, {POINTER.format('p2')}, {POINTER.format('p3')}",
        ".reg .b64 %a;\nld.param.u64 %a, [p2];",
    )
    if passed is None:
        assert fit_k(text, 1, (kind,), 1, workspaces=1).parameters == ("ptr", kind, "ptr", "ptr")
    else:
        with pytest.raises(DefinitionError, match=rf"TensorRT passes {passed} there \(extra argument 0\)"):
            fit_k(text, 1, (kind,), 1, workspaces=1)


@pytest.mark.parametrize("name", ["portable", "sm_80", "sm_89"])
def test_refuses_clusters_where_not_every_gpu_has_them(name):
    text = copying(2, directives=".explicitcluster\n.reqnctapercluster 2", target="sm_80")
    with pytest.raises(DefinitionError, match=rf"clusters of 2 blocks, which {name} does not have(.|\n)*--arch sm_90"):
        fit_k(text, arch=arch(name))


def test_refuses_clusters_of_more_than_a_plain_launch_has():
    text = copying(2, directives=".explicitcluster\n.reqnctapercluster 16", target="sm_90")
    with pytest.raises(DefinitionError, match=r"demands clusters of 16 blocks(.|\n)*at most 8"):
        fit_k(text)


@pytest.mark.parametrize(
    "directives",
    [".explicitcluster", ".reqnctapercluster 0", ".blocksareclusters\n.reqntid 32\n.reqnctapercluster 1"],
)
def test_refuses_clusters_that_the_launch_would_state(directives):
    text = copying(2, directives=directives, target="sm_90")
    with pytest.raises(DefinitionError, match="demands a launch in clusters"):
        fit_k(text)


def test_allows_a_cluster_of_one():
    text = copying(2, directives=".explicitcluster\n.reqnctapercluster 1, 1, 1", target="sm_90")
    assemble(fit_k(text).text, arch("sm_90"))


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        ("mov.u32 %r1, %clusterid.x;", r"works in thread block clusters \(%clusterid\)"),
        ("mov.u32 %r1, %cluster_ctarank;", "works in thread block clusters"),
        ("barrier.cluster.arrive;", r"works in thread block clusters \(barrier.cluster\)"),
        ("mapa.u64 %rd0, %rd0, %r1;", r"works in thread block clusters \(mapa\)"),
        ("mov.u32 %r1, %envreg2;", r"synchronises the whole grid, .* cooperative launch \(%envreg2\)"),
        ("griddepcontrol.wait;", r"dependent launches \(griddepcontrol\)"),
        ("tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [%r1], 128;", "uses tensor memory"),
    ],
)
def test_refuses_what_needs_another_launch(instruction, message):
    options = {"target": "sm_100a", "version": "8.6"}
    assemble(copying(2, body=instruction, **options), arch("sm_100"))  # the test's text is real PTX
    with pytest.raises(DefinitionError, match=message):
        fit_k(copying(2, body=instruction, **options))
    with pytest.raises(DefinitionError, match=message):  # in a function that the kernel may call
        fit_k(copying(2, before=f".func f() {{ .reg .b32 %r<2>; .reg .b64 %rd<2>; {instruction} ret; }}", **options))
    other = f".entry other() {{ {instruction} ret; }}"
    assert fit_k(copying(2, before=other, **options)).entry == "k"


@pytest.mark.parametrize("block", [(256, 1, 1), (64, 2, 1), (128, 1, 2)])
def test_refuses_another_block_than_it_is_compiled_for(block):
    with pytest.raises(DefinitionError, match=r"for blocks of \(128, 1, 1\) threads \(\.reqntid\), the launch has "):
        fit_add(elementwise(), block=block)


def test_refuses_a_block_beyond_maxntid():
    options = {"entry": "scale", "inputs": 1, "extra_args": 1, "outputs": 1}
    assert fit(NVRTC, **options, block=(128, 1, 1)).entry == "scale"
    with pytest.raises(DefinitionError, match="at most 256 threads, the launch has 512"):
        fit(NVRTC, **options, block=(256, 2, 1))
    with pytest.raises(DefinitionError, match="at most 1024 threads, the launch has 2048"):
        fit_k(copying(2), block=(1024, 2, 1))


@pytest.mark.parametrize(
    ("declarations", "size"),
    [
        (".shared .align 4 .b8 a[256];", 256),
        (".shared .b8 a[3];\n.shared .align 16 .b8 b[4];", 20),
        (".shared .b8 a;\n.shared .f64 b;", 16),
        (".shared .v4 .f32 a[2][3], b;", 112),
        (".visible .shared .align 0x20 .b8 a[0x40];", 64),
        (".extern .shared .align 16 .b8 a[];", 0),
        (".shared .f16x2 a[8];", 32),
    ],
)
def test_static_shared_memory(declarations, size):
    text = copying(2, before=declarations, body="ld.shared.u8 %r1, [%rd0];")
    fitted = fit_k(text)
    assert shared(fitted) == (size, False)


def test_static_shared_memory_is_what_ptxas_says():
    used = "st.shared.u8 [a], 1; st.shared.u8 [b], 1;"
    text = copying(2, body=f".shared .align 4 .b8 a[250];\n.shared .align 16 .b8 b[100];\n{used}")
    fitted = fit_k(text)
    assert fitted.shared_static == assemble(fitted.text, PORTABLE).shared == 356


def test_refuses_more_than_48_kib_of_shared_memory():
    text = copying(2, body=".shared .align 4 .b8 a[4096];\nst.shared.u8 [a], 1;")
    check_shared(fit_k(text), 44 * 1024)
    with pytest.raises(
        DefinitionError, match=r"kernel k: 49153 bytes of shared memory, .* at most 49152(.|\n)*num_stages"
    ):
        check_shared(fit_k(text), 44 * 1024 + 1)
    with pytest.raises(DefinitionError, match="a plugin library has more: --road library"):
        check_shared(fit_k(text), 44 * 1024 + 1)
    with pytest.raises(DefinitionError, match=r"at most 65536(.|\n)*num_stages$"):
        check_shared(fit_k(text), 64 * 1024, limit=64 * 1024)


def test_refuses_a_target_that_the_architecture_does_not_run():
    with pytest.raises(DefinitionError, match="compiled for sm_90a, which does not run on portable"):
        fit_add(elementwise(90, ptx_version=87), arch=PORTABLE)
    with pytest.raises(DefinitionError, match="compiled for sm_89, which does not run on sm_86"):
        fit_k(copying(2, target="sm_89"), arch=arch("sm_86"))


def test_refuses_an_isa_that_does_not_know_the_target():
    with pytest.raises(DefinitionError, match=r"PTX ISA 8\.0 does not know sm_120a, which needs 8\.7"):
        fit_k(copying(2, target="sm_120a", version="9.0"), isa=BASE)


@pytest.mark.parametrize("name", ["p0", "st_shared", "f"])
def test_refuses_a_name_that_is_taken(name):
    before = ".func f() { ret; }\n.global .b32 st_shared;"
    with pytest.raises(DefinitionError, match=f"new name {name} is already used"):
        fit_k(copying(2, before=before), new_name=name)


@pytest.mark.parametrize("name", ["7", "a-b", "a b", "_", "a.b"])
def test_refuses_a_name_that_is_none(name):
    with pytest.raises(DefinitionError, match="cannot be the name of a kernel"):
        fit_k(copying(2), new_name=name)
