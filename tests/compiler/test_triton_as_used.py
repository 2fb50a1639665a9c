# SPDX-License-Identifier: Apache-2.0
"""Definitions that use Triton's compiler in other ways: as older versions had it, by a name of their own, or looking
closely at what comes out.
"""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest
from building import build, edited, network, tensor
from triton.compiler import ASTSource

from aotfactory.core.errors import DefinitionError
from aotfactory.executors.interpreter import check as interpreter

PLUGIN = Path(__file__).resolve().parents[1] / "mutants" / "shifted_sub.py"
INPUTS = tensor("a", "N=1/7/64 C=48"), tensor("b", "N=1/7/64 C=48")
SIGNATURE = """        signature={
            "a_ptr": "*fp32",
            "b_ptr": "*fp32",
            "n": "i32",
            "rows": "i32",
            "y_ptr": "*fp32",
            "BLOCK": "constexpr",
        },
"""
CONSTANTS = '        constexprs={"BLOCK": BLOCK},\n'


@pytest.mark.parametrize(
    ("signature", "constants"),
    [
        ('"*fp32, *fp32, i32, i32, *fp32"', 'constants={"BLOCK": BLOCK}'),
        ('{0: "*fp32", 1: "*fp32", 2: "i32", 3: "i32", 4: "*fp32"}', "constants={5: BLOCK}"),
        ('"*fp32,*fp32,i32,i32,*fp32"', 'constexprs={"BLOCK": BLOCK}'),
    ],
)
def test_what_triton_took_before_is_compiled_and_judged(signature: str, constants: str, tmp_path: Path) -> None:
    edits = {SIGNATURE: f"        signature={signature},\n", CONSTANTS: f"        {constants},\n"}
    today = ASTSource.__init__
    plugin, sources = edited(tmp_path, PLUGIN, edits)
    built = build(network(plugin, *INPUTS), sources)
    assert built.checks["interpreter"].detail.startswith("against the reference"), built.failed
    assert built.result.compilations[0].divisible == {"a_ptr": 16, "n": 16}
    assert ASTSource.__init__ is today


def test_a_text_with_too_few_types(tmp_path: Path) -> None:
    plugin, _ = edited(tmp_path, PLUGIN, {SIGNATURE: '        signature="*fp32,*fp32,i32,*fp32",\n'})
    said = r"has 4 types, but shifted_sub_kernel has 5 parameters that are not constants: a_ptr, b_ptr, n, rows, y_ptr"
    with pytest.raises(DefinitionError, match=said) as caught:
        build(network(plugin, *INPUTS), interpret=False)
    assert "signature={'a_ptr': '*fp32', ...}" in (caught.value.hint or "")


def test_the_compiler_under_a_name_of_the_modules_own(tmp_path: Path) -> None:
    edits = {"import triton.language as tl\n": "import triton.language as tl\nfrom triton import compile as made\n"}
    edits["triton.compile(source"] = "made(source"
    plugin, sources = edited(tmp_path, PLUGIN, edits)
    built = build(network(plugin, *INPUTS), sources)
    assert built.checks["interpreter"].detail.startswith("against the reference"), built.failed


def test_the_compiled_kernel_is_looked_at(tmp_path: Path) -> None:
    """Also when the definitions are asked again, in the interpreter's process, which compiles nothing."""
    looks = """    compiled = triton.compile(source, options={"num_warps": 1})
    assert "tt.func" in compiled.asm["ttir"] and "ttg.num-warps" in compiled.asm["ttgir"]
    assert compiled.metadata.target.arch == 80 and compiled.name == compiled.metadata.name and compiled.hash
"""
    edits = {'    compiled = triton.compile(source, options={"num_warps": 1})\n': looks}
    plugin, sources = edited(tmp_path, PLUGIN, edits)
    built = build(network(plugin, *INPUTS), sources)
    assert built.checks["interpreter"].detail.startswith("against the reference"), built.failed
    assert sorted(built.result.compilations[0].texts) == ["ttgir", "ttir"]


def test_what_is_looked_at_in_the_interpreters_process_alone_is_skipped(tmp_path: Path) -> None:
    looks = """    compiled = triton.compile(source, options={"num_warps": 1})
    import os

    if "AOTFACTORY_TEST_PARENT" not in os.environ:
        compiled.asm["llir"]
"""
    edits = {'    compiled = triton.compile(source, options={"num_warps": 1})\n': looks}
    plugin, sources = edited(tmp_path, PLUGIN, edits)
    with mock.patch.dict(os.environ, {"AOTFACTORY_TEST_PARENT": "1"}):
        made = network(plugin, *INPUTS)
        results = build(made, interpret=False).results
    (check,) = interpreter.check(made, results, sources)
    assert (check.status, "looks at 'llir' of the compiled kernel" in check.detail) == ("skipped", True), check.detail
