# SPDX-License-Identifier: Apache-2.0
"""A kernel's module of a package whose own `__init__` imports what is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aotfactory import AotError, import_alone
from aotfactory.plugins.mistakes import explained

PACKAGE = {
    "heavy_{0}/__init__.py": "import an_extension_that_is_not_built",
    "heavy_{0}/ops/__init__.py": "import an_extension_that_is_not_built",
    "heavy_{0}/ops/kernel.py": "import einops_{0}\nfrom einops_{0}.layers import Rearrange\n"
    "from heavy_{0}.ops.helper import half\nfrom .. import version\n\n"
    "@einops_{0}.traced(level=2)\ndef f(x):\n    return half(x)",
    "heavy_{0}/ops/helper.py": "def half(x):\n    return x // 2",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    mark = f"{abs(hash(request.node.name)) % 10**9}"
    for path, text in PACKAGE.items():
        file = tmp_path / path.format(mark)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(mark))
    monkeypatch.syspath_prepend(tmp_path)
    return mark


def test_the_packages_own_init_does_not_run(package: str) -> None:
    stand_ins = {f"einops_{package}": {}, f"einops_{package}.layers": {}, f"heavy_{package}": {"version": "1"}}
    module = import_alone(f"heavy_{package}.ops.kernel", stand_ins)
    assert (module.f(9), module.version) == (4, "1")
    assert sys.modules[module.__name__] is module  # Triton looks there
    assert f"einops_{package}" not in sys.modules


def test_what_is_missing_is_named_with_the_remedy(package: str, tmp_path: Path) -> None:
    with pytest.raises(AotError, match="No module named 'an_extension_that_is_not_built'") as caught, explained(None):
        __import__(f"heavy_{package}.ops.kernel")
    assert "import_alone" in (caught.value.hint or "")
    with pytest.raises(AotError, match="no package 'nobody_has_this' is installed"):
        import_alone("nobody_has_this.ops.kernel")


def test_the_interpreter_finds_what_a_program_has_put_on_its_path(tmp_path: Path) -> None:
    """The check runs in a process of its own."""
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "only_on_the_path.py").write_text("SLOPE = 2")
    (tmp_path / "plugins_of_a_program.py").write_text(
        "import only_on_the_path\nimport triton, triton.language as tl, aotfactory\n"
        "from aotfactory import trtp\n\n@triton.jit\ndef twice(x, y, n, S: tl.constexpr):\n"
        "    i = tl.arange(0, 64)\n    tl.store(y + i, tl.load(x + i, mask=i < n) * S, mask=i < n)\n\n"
        "aotfactory.plugin(twice, 'a::twice', inputs='x', outputs='y', n=9, S=only_on_the_path.SLOPE, grid=1)\n"
    )
    program = (
        "import sys, json, aotfactory\n"
        f"sys.path.append({str(tmp_path / 'beside')!r})\n"
        f"built = aotfactory.build('a::twice', plugins=[{str(tmp_path / 'plugins_of_a_program.py')!r}], shape='9', "
        f"arch='sm_90', out={str(tmp_path)!r}, engine='bundle')\n"
        "print(json.dumps({c.name: c.status for c in built.checks}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["interpreter"] == "passed"
