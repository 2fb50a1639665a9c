# SPDX-License-Identifier: Apache-2.0
"""Definitions that call Triton's compiler in other ways: as older versions had it, or by a name of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from building import build, edited, network, tensor
from triton.compiler import ASTSource

from aotfactory.core.errors import DefinitionError

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
