# SPDX-License-Identifier: Apache-2.0
"""PTX assembled: errors with their line, registers and spills, and which ptxas is taken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ptx_samples import (
    arch,
    copying,
    fit_k,
    module,
)

from aotfactory.compiler import ptxas
from aotfactory.compiler.ptxas import assemble, compiler_isa
from aotfactory.core.arch import PORTABLE, PtxIsa
from aotfactory.core.errors import CheckError, MissingError


def test_ptxas_error_quotes_the_line():
    text = fit_k(copying(2, body="frobnicate.u32 %r1;\n")).text
    line = text.splitlines().index("frobnicate.u32 %r1;") + 1
    with pytest.raises(
        CheckError, match=rf"^PTX line {line}: ptxas refuses the PTX for sm_80: .*'frobnicate' in `frob"
    ):
        assemble(text, PORTABLE)


def test_ptxas_error_without_a_line():
    with pytest.raises(CheckError, match=r"ptxas refuses the PTX for sm_80: SM version specified by .target is higher"):
        assemble(module(target="sm_90"), PORTABLE)


def test_newer_instruction_than_the_isa_is_refused():
    text = copying(2, body="fence.proxy.async;", target="sm_90", version="8.0")
    assemble(fit_k(text).text, arch("sm_90"))
    with pytest.raises(CheckError, match=r"requires PTX ISA .version 8\.0"):
        assemble(fit_k(text, isa=PtxIsa(7, 8)).text, arch("sm_90"))


SPILLING = """
.visible .entry spilling(.param .u64 p) .maxnreg 24
{
	.reg .b64 %rd<2>;
	.reg .f32 %f<65>;
	ld.param.u64 %rd1, [p];
"""


def test_report_of_spills():
    steps = [f"ld.volatile.global.f32 %f{i}, [%rd1+{4 * i}];" for i in range(64)]
    steps += [f"st.volatile.global.f32 [%rd1+{4 * i}], %f{63 - i};" for i in range(64)]
    text = module(name="simple") + SPILLING + "\n".join(steps) + "\nret;\n}\n"
    report = assemble(text, PORTABLE, entry="spilling")
    assert report.registers <= 24
    assert report.spill_stores > 0
    assert report.spill_loads > 0
    assert report.stack > 0
    assert assemble(text, PORTABLE) == report  # the whole module: the larger, the sum
    assert assemble(text, PORTABLE, entry="simple").spill_stores == 0


def test_warnings_are_reported():
    (warning,) = assemble(module(directives=".minnctapersm 2"), PORTABLE).warnings
    assert warning.startswith(".minnctapersm is ignored")


@pytest.fixture
def tools(monkeypatch):
    """Lets a test change which ptxas is found."""
    ptxas._assemblers.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    ptxas._assemblers.cache_clear()


def script(path: Path, text: str) -> str:
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return str(path)


def test_no_ptxas(tools):
    tools.setattr("importlib.util.find_spec", lambda name: None)
    tools.delenv("TRITON_PTXAS_PATH", raising=False)
    tools.delenv("TRITON_PTXAS_BLACKWELL_PATH", raising=False)
    with pytest.raises(MissingError, match=r"no ptxas was found\n.*pip install"):
        assemble(module(), PORTABLE)


def test_ptxas_of_the_environment_and_its_time_limit(tools, tmp_path):
    slow = "import sys, time\nprint('release 99.0') if '--version' in sys.argv else time.sleep(60)"
    tools.setenv("TRITON_PTXAS_PATH", script(tmp_path / "slow", slow))
    with pytest.raises(CheckError, match=r"ptxas did not finish within 0\.3 s for sm_80"):
        assemble(module(), PORTABLE, timeout=0.3)


def test_compiler_isa(tools, tmp_path):
    for variable, release in (("TRITON_PTXAS_PATH", "12.8"), ("TRITON_PTXAS_BLACKWELL_PATH", "13.0")):
        tools.setenv(variable, script(tmp_path / release, f"print('release {release}')"))
    assert compiler_isa(arch("sm_90")) == (8, 7)
    assert compiler_isa(arch("sm_120")) == (8, 7)
    assert compiler_isa(arch("sm_121")) == (9, 0)
    with pytest.raises(MissingError, match=r"cannot compile for sm_107: .* up to ISA 9\.0, sm_107 needs 9\.4"):
        compiler_isa(arch("sm_107"))
