# SPDX-License-Identifier: Apache-2.0
"""Bundles of models, judged on the tensors that their nodes get."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from building import MODULES
from commands import Run
from onnx import TensorProto, helper, numpy_helper

from aotfactory.executors import onnx_reference
from aotfactory.executors.reference import FindRecipe

MODULE = str(MODULES / "leaky_relu.py")
BIAS = np.linspace(-3, 3, 16, dtype=np.float32)


@pytest.fixture
def built(tmp_path: Path, run: Run) -> tuple[Path, Path]:
    """A model of two plugin nodes with others between, and its bundle."""
    node = [("Add", ["x", "bias"], "a", "", {}), ("leaky_relu", ["a"], "b", "my", {"alpha": 0.5}),
            ("Exp", ["b"], "c", "", {}), ("leaky_relu", ["c"], "y", "my", {"alpha": 0.25})]  # fmt: skip
    nodes = [helper.make_node(op, given, [out], domain=domain, **more) for op, given, out, domain, more in node]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 16]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(BIAS, "bias")])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    done = run(
        "compile", str(path), "--plugins", MODULE, "--dim", "N=1:3:9", "--arch", "sm_80,sm_100", "--out", str(tmp_path)
    )
    assert done.code == 0, done.err
    return path, tmp_path / "m.aot"


def test_each_node_gets_the_models_tensors(built: tuple[Path, Path], tmp_path: Path, run: Run) -> None:
    path, bundle = built
    result = run("validate", str(bundle), "--model", str(path), "--plugins", MODULE, "--format", "json",
                 "--save-inputs", str(tmp_path / "in"), "--save-outputs", str(tmp_path / "out"))  # fmt: skip
    assert result.code == 0, result.err
    checks = [c for c in json.loads(result.out)["checks"] if c["name"] == "interpreter"]
    assert [c["status"] for c in checks] == ["passed"] * 4
    x, y = np.load(tmp_path / "in" / "x.npy"), np.load(tmp_path / "out" / "y.npy")
    assert x.shape == (3, 16)
    a = x + BIAS
    c = np.exp(np.where(a > 0, a, a * 0.5))
    np.testing.assert_allclose(y, np.where(c > 0, c, c * 0.25), rtol=1e-5)


def test_another_model(built: tuple[Path, Path], tmp_path: Path, run: Run) -> None:
    path, bundle = built
    model = onnx.load(path)
    model.graph.node[1].attribute[0].f = 0.75
    onnx.save(model, tmp_path / "other.onnx")
    result = run("validate", str(bundle), "--model", str(tmp_path / "other.onnx"), "--plugins", MODULE)
    assert result.code == 2
    assert "attribute alpha is 0.75 in the model" in result.err


def test_options_that_do_not_fit(built: tuple[Path, Path], run: Run) -> None:
    _, bundle = built
    assert run("validate", str(bundle), "--save-inputs", "in").code == 2
    assert run("validate", str(bundle), "--model", "nothing.onnx", "--plugins", MODULE).code == 2


def spinning(operator: Callable[..., Any]) -> Callable[..., Any]:
    """An operator that never comes to an end."""

    def make(node: onnx.NodeProto, find_recipe: FindRecipe) -> Any:
        class Spins(operator(node, find_recipe)):  # type: ignore[misc]
            def _run(self, *inputs: Any, **ignored: Any) -> Any:
                while True:
                    pass

        Spins.__name__ = node.op_type
        return Spins

    return make


def test_a_model_that_takes_too_long(built: tuple[Path, Path], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path, bundle = built
    monkeypatch.setattr(onnx_reference, "MOST_SECONDS", 0.3)
    monkeypatch.setattr(onnx_reference, "_operator", spinning(onnx_reference._operator))
    result = run("validate", str(bundle), "--model", str(path), "--plugins", MODULE)
    assert result.code == 1
    assert "the model was not computed within 0.3 s of processor time" in result.err
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
