# SPDX-License-Identifier: Apache-2.0
"""Models of scripts/export_models.py, from PyTorch to validated bundles."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the models are PyTorch's")
pytest.importorskip("onnxscript", reason="export and graft need onnxscript")
SCRIPT = Path(__file__).parents[2] / "scripts" / "export_models.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "grafted"),
    [
        ("unet", {"circular padding"}),
        ("llama", {"RMSNorm", "SwiGLU", "RoPE", "softmax with a mask"}),
        ("diffusion", {"LayerNorm", "GroupNorm and SiLU", "GELU of a sum"}),
        ("sampler", {"GridSample"}),
    ],
)
def test_all_the_way(tmp_path: Path, name: str, grafted: set[str]) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path), "--only", name, "--arch", "sm_90"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result["grafted"]) == grafted
    assert result["judged"] == result["variants"] > 0
    assert result["wrong"] == []
