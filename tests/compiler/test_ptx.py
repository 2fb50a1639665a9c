# SPDX-License-Identifier: Apache-2.0
"""PTX read: Triton's, NVRTC's and hand-written; what cannot be read is refused with its line."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ptx_samples import (
    EMPTY_KERNEL,
    NVRTC,
    arch,
    elementwise,
    module,
)

from aotfactory.compiler.ptx import parse_module, shared_memory
from aotfactory.compiler.ptxas import assemble
from aotfactory.core.arch import PORTABLE
from aotfactory.core.errors import DefinitionError

KINDS = {
    "u64": ["u64", "b64"], "i64": ["s64"], "i32": ["u32", "s32", "b32"], "i16": ["u16", "s16", "b16"],
    "i8": ["u8", "s8", "b8"], "f16": ["f16"], "f32": ["f32"], "f64": ["f64"], "texref": ["texref", "texref .ptr"],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "written"), [(kind, name) for kind, names in KINDS.items() for name in names])
def test_kinds_of_parameters(kind, written):
    (entry,) = parse_module(EMPTY_KERNEL.replace(".u64 x", f".{written} x")).entries
    assert [parameter.kind for parameter in entry.parameters] == [kind]


@pytest.mark.parametrize(
    ("number", "value"), [("32", 32), ("040", 32), ("0x20", 32), ("0X20U", 32), ("0", 0), ("8U", 8)]
)
def test_numbers(number, value):
    (entry,) = parse_module(EMPTY_KERNEL.replace("\n{", f"\n.reqntid {number}, 2\n{{")).entries
    assert entry.directives == {"reqntid": (value, 2)}


def test_all_of_a_module_with_one_kernel_may_belong_to_it():
    read = parse_module(EMPTY_KERNEL)
    assert read.reach(read.entries[0]) == read.text


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (".shared .b8 a[3]; .shared .b8 b;", (4, False)),
        (".shared .b8 a; .shared .b32 b;", (8, False)),
        (".shared .b8 a; .shared .align 16 .b8 b[4];", (20, False)),
        (".shared .v4 .f32 a[2][3];", (96, False)),
        (".extern .shared .align 16 .b8 unused[], used[]; mov.u32 r, used;", (0, True)),
        (".extern .shared .align 16 .b8 unused[]; .shared .b16 a, b[2];", (6, False)),
    ],
)
def test_shared_memory_is_counted_as_it_is_laid_out(declared, expected):
    assert shared_memory(declared) == expected


def test_reads_triton():
    text = elementwise()
    read = parse_module(text)
    (entry,) = read.entries
    assert (entry.name, read.target) == ("add", "sm_80")
    assert [parameter.kind for parameter in entry.parameters] == ["ptr", "i32", "ptr", "ptr", "ptr"]
    assert entry.directives == {"reqntid": (128,)}
    assert text.splitlines()[entry.line - 1].startswith(".visible .entry add(")


def test_reads_nvrtc():
    read = parse_module(NVRTC)
    assert read.version == (9, 5)
    assert [entry.name for entry in read.entries] == ["scale", "_Z4copyIfEvPT_", "nothing"]
    assert [[p.kind for p in entry.parameters] for entry in read.entries] == [["u64", "i32", "u64"], ["u64"], []]
    assert read.entry("scale").directives == {"maxntid": (256, 1, 1)}
    assert "st.shared" in read.body(read.entry("scale"))
    reach = read.reach(read.entry("nothing"))
    assert "counter" in reach
    assert "st.shared" not in reach
    assert "st.global" not in reach


def test_reads_directives_comments_and_declarations():
    text = """
    /* .version 1.0
       .entry no() { */
    .version 8.3 // .version 9.9
    .target sm_90a, texmode_independent
    .address_size 64
    .entry k(.param .u64 a, .param .align 8 .b8 b[16]);
    .entry k // { a brace
      ( .param.u64.ptr.global.align 16 p,
        .param .align 8 .b8 s[0x10] ) /* } */
      .reqntid 0x40, 2
      .minnctapersm 2
      .pragma "nounroll {";
    { .pragma "unroll }"; { ret; } }
    """
    read = parse_module(text)
    (entry,) = read.entries
    assert (read.version, read.target, entry.line) == ((8, 3), "sm_90a", 8)
    assert [(p.name, p.kind) for p in entry.parameters] == [("p", "ptr"), ("s", "bytes")]
    assert entry.directives["reqntid"] == (64, 2)
    assert entry.directives["minnctapersm"] == (2,)
    assert read.body(entry).strip() == '.pragma "unroll }"; { ret; }'
    assemble(text, arch("sm_90"))  # ptxas reads it too


DECLARATIONS = {
    ".param .u64 .ptr .global .align 16 {}": "ptr",
    ".param .b64 .ptr {}": "ptr",
    ".param .u64 .ptr .align 1 {}": "ptr",
    ".param .u64 {}": "u64",
    ".param .b64 {}": "u64",
    ".param .s64 {}": "i64",
    ".param .u32 {}": "i32",
    ".param .s32 {}": "i32",
    ".param .b32 {}": "i32",
    ".param .align 4 .u32 {}": "i32",
    ".param .f32 {}": "f32",
    ".param .f64 {}": "f64",
    ".param .u16 {}": "i16",
    ".param .b16 {}": "i16",
    ".param .u8 {}": "i8",
    ".param .align 4 .b8 {}[16]": "bytes",
    ".param .align 64 .b8 {}[128]": "bytes",
    ".param .b8 {}[3]": "bytes",
    ".param .u64 {}[2]": "bytes",
}
NAMES = st.from_regex(r"\A([a-z][a-z0-9_$]{0,8}|[_$%][a-z0-9_$]{1,8})\Z").filter(lambda name: name != "k")
SPACES = st.sampled_from([" ", "  ", "\t", "\n", " // .param .u8 no,\n", " /* , ) { */ "])


@given(st.lists(st.tuples(st.sampled_from(sorted(DECLARATIONS)), NAMES), unique_by=lambda p: p[1]), st.data())
def test_any_parameter_list_is_read_back(declared, data):
    written = [declaration.format(name) for declaration, name in declared]
    spaced = ",".join("".join(data.draw(SPACES) if c == " " else c for c in f" {text} ") for text in written)
    (entry,) = parse_module(module(spaced)).entries
    assert [(p.name, p.kind) for p in entry.parameters] == [(name, DECLARATIONS[d]) for d, name in declared]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(sorted(DECLARATIONS)), NAMES), unique_by=lambda p: p[1], max_size=6))
def test_ptxas_agrees_that_the_lists_are_ptx(declared):
    assemble(module(", ".join(declaration.format(name) for declaration, name in declared)), PORTABLE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no .version"),
        ("\x7fELF", "no .version"),
        (".version 8.0\n", "no .target"),
        (".version 8.0\n.target ampere\n.entry k() { }", "'ampere' is not a PTX target"),
        (".version 8.0\n.target sm_80\n.address_size 64\n", "the PTX has no kernel"),
        (".version 8.0\n.target sm_80\n.visible .entry k();", "the PTX has no kernel"),
        (
            ".version 8.0\n.target sm_80\n.address_size 32\n.entry k() { }",
            "line 3: malformed PTX: addresses of 32 bits",
        ),
        (module(".param .u64 x,\n.param u64 y"), r"line 6: .* the parameter '.param u64 y' of k"),
        (module(".param .u64 x,"), "line 5: .* the parameter '' of k"),
        (module().replace("()", "(.param .u64 x"), "line 5: malformed PTX: cannot read this .entry"),
        (module(directives="reqntid 128"), "line 5: malformed PTX: cannot read this .entry"),
        (module()[:-3], "the body of k does not end"),
        (module() + "\n/* note", "line 12: malformed PTX: a comment that does not end"),
    ],
)
def test_malformed_text(text, message):
    with pytest.raises(DefinitionError, match=message):
        parse_module(text)


def test_unknown_kernel_lists_those_there_are():
    with pytest.raises(DefinitionError, match="no kernel 'copy'; it has scale, _Z4copyIfEvPT_, nothing"):
        parse_module(NVRTC).entry("copy")


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 200_000,
        " \n" * 200_000,
        "\n" * 200_000 + EMPTY_KERNEL,
        EMPTY_KERNEL + "\n" * 200_000,
        EMPTY_KERNEL.replace("{", "\n" * 200_000 + "{"),
    ],
    ids=["empty lines", "blank lines", "before", "after", "inside"],
)
def test_empty_lines_take_no_longer_than_others(text: str) -> None:
    began = time.process_time()
    with suppress(DefinitionError):
        parse_module(text)
    assert time.process_time() - began < 2


def test_odd_shared_memory() -> None:
    assert shared_memory(".shared .align 0 .b8 s[3];") == (3, False)
    assert shared_memory(f".shared .b{'8' * 5000} s[3];") == (0, False)
    began = time.process_time()
    assert shared_memory("".join(f".extern .shared .b8 s{i}[];\n" for i in range(3000))) == (0, False)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("good", [0, 1, 40])
def test_the_line_of_a_parameter_that_cannot_be_read(good: int) -> None:
    parameters = ",\n".join([*(f".param .u64 p{n}" for n in range(good)), "x"])
    text = f".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(\n{parameters}\n)\n{{\nret;\n}}\n"
    with pytest.raises(DefinitionError, match="cannot read the parameter 'x' of k") as caught:
        parse_module(text)
    assert caught.value.where == f"PTX line {5 + good}"
