# SPDX-License-Identifier: Apache-2.0
"""What `graft` finds in stock ONNX models, that it is equal, and that it is undone where it is not."""

from __future__ import annotations

import json
import os
import resource
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from commands import Run
from onnx import helper

pytest.importorskip("onnxscript", reason="graft needs onnxscript")
torch = pytest.importorskip("torch", reason="the models are exported by PyTorch")

import torch.nn.functional as F  # noqa: E402

from aotfactory.api.graft import graft  # noqa: E402
from aotfactory.core.errors import UsageError  # noqa: E402
from aotfactory.executors import onnx_reference  # noqa: E402
from aotfactory.plugins.catalog import Catalog  # noqa: E402
from aotfactory.targets.request import TargetOptions  # noqa: E402
from aotfactory.targets.resolve import resolve  # noqa: E402


class Of(torch.nn.Module):
    """A module of a function and parameters."""

    def __init__(self, function: Any, *parts: Any) -> None:
        super().__init__()
        self.function, self.parts = function, torch.nn.ModuleList(p for p in parts if isinstance(p, torch.nn.Module))
        for i, part in enumerate(p for p in parts if isinstance(p, torch.Tensor)):
            self.register_buffer(f"b{i}", part)

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs, *self.parts, *self.buffers(recurse=False))


def random(*shape: int) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def rms(x: Any, w: Any) -> Any:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w


def swiglu(x: Any) -> Any:
    a, b = x.chunk(2, -1)
    return F.silu(a) * b


def rope(x: Any, cos: Any, sin: Any) -> Any:
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


ANGLES = torch.cat([random(8, 8)] * 2, -1)
MODELS = {
    "circ_pad": (Of(lambda x: F.pad(x, (1, 2, 3, 1), mode="circular")), [random(1, 2, 8, 8)]),
    "rms_norm": (Of(rms, random(16)), [random(2, 16)]),
    "layer_norm": (Of(lambda x, norm: norm(x), torch.nn.LayerNorm(16)), [random(2, 16)]),
    "group_norm_silu": (Of(lambda x, norm: F.silu(norm(x)), torch.nn.GroupNorm(4, 8)), [random(2, 8, 4, 4)]),
    "silu_and_mul": (Of(swiglu), [random(4, 16)]),
    "gelu_tanh_bias": (
        Of(lambda x, linear: F.gelu(linear(x), approximate="tanh"), torch.nn.Linear(16, 32)),
        [random(4, 16)],
    ),
    "rope": (Of(rope, ANGLES.cos(), ANGLES.sin()), [random(2, 4, 8, 16)]),
    "masked_softmax": (Of(lambda x, mask: torch.softmax(x + mask, -1)), [random(2, 4, 8, 8), random(8, 8)]),
    "grid_sample": (
        Of(lambda x, grid: F.grid_sample(x, grid, padding_mode="border", align_corners=True)),
        [random(1, 2, 8, 8), random(1, 4, 4, 2)],
    ),
}


def exported(folder: Path, name: str, dynamo: bool) -> Path:
    model, inputs = MODELS[name]
    path = folder / f"{name}.onnx"
    names = [f"x{i}" for i in range(len(inputs))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options: dict[str, Any] = {} if dynamo else {"opset_version": 17}
        torch.onnx.export(
            model.eval(),
            tuple(inputs),
            path,
            dynamo=dynamo,
            verbose=False,
            input_names=names,
            output_names=["y"],
            **options,
        )
    return path


@pytest.mark.parametrize("dynamo", [True, False], ids=["export", "torchscript"])
@pytest.mark.parametrize("name", MODELS)
def test_what_both_exporters_write(tmp_path: Path, name: str, dynamo: bool) -> None:
    path, out = exported(tmp_path, name, dynamo), tmp_path / "out.onnx"
    (found,) = graft(path, out)
    assert (found.plugin, found.replaced) == (f"aotfactory::{name}", True), found
    assert found.outputs == ("y",)
    # The grafted model as a whole gives what PyTorch gives, and `build` takes it.
    model, inputs = MODELS[name]
    feeds = {f"x{i}": x.numpy() for i, x in enumerate(inputs)}
    got = onnx_reference.run(onnx.load(out), Catalog().find(name) and _catalog().for_plugin, feeds)["y"]
    np.testing.assert_allclose(got, model(*inputs).detach().numpy(), rtol=1e-4, atol=1e-5)
    assert [c.plugin for c in resolve(str(out), Catalog(), TargetOptions()).calls] == [f"aotfactory::{name}"]


def _catalog() -> Catalog:
    catalog = Catalog()
    catalog.load_all()
    return catalog


def test_what_is_not_equal_is_left_alone(tmp_path: Path) -> None:
    """A mask that repeats over heads only; a rotation whose halves are not alike; padding with zeros."""
    cases = {
        "mask": (Of(lambda x, mask: torch.softmax(x + mask, -1)), [random(2, 4, 8, 8), random(2, 1, 8, 8)]),
        "rotation": (Of(rope, random(8, 16), random(8, 16)), [random(2, 4, 8, 16)]),
        "zeros": (Of(lambda x: F.pad(x, (1, 1, 1, 1))), [random(1, 2, 8, 8)]),
    }
    for name, (model, inputs) in cases.items():
        path = tmp_path / f"{name}.onnx"
        torch.onnx.export(model.eval(), tuple(inputs), path, dynamo=True, verbose=False)
        found = graft(path, tmp_path / "out.onnx")
        assert not any(match.replaced for match in found), name
        after = onnx.load(tmp_path / "out.onnx").graph.node
        assert {n.domain for n in after} <= {""}, name
        if name == "rotation":
            assert "the values differ by" in found[0].detail


RULES = """
from aotfactory.api.graft_rules import Rule

def pattern(op, x):
    return op.Relu(x)

RULES = [Rule(name="wrong", plugin="aotfactory::softmax", patterns=(pattern,), build=lambda make, values, match: make.call(values["x"]))]
"""  # noqa: E501


def test_a_wrong_rule_of_the_users_is_undone(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(RULES)
    path = tmp_path / "m.onnx"
    torch.onnx.export(Of(F.relu), (random(2, 8),), path, dynamo=True, verbose=False)
    (found,) = graft(path, tmp_path / "out.onnx", rules=[str(tmp_path / "rules.py")])
    assert (found.rule, found.replaced) == ("wrong", False)
    assert "the values differ by" in found.detail
    assert [n.op_type for n in onnx.load(tmp_path / "out.onnx").graph.node] == ["Relu"]
    (tmp_path / "none.py").write_text("RULES = 3\n")
    with pytest.raises(UsageError, match="has no list RULES"):
        graft(path, None, rules=[str(tmp_path / "none.py")])


def test_the_command(tmp_path: Path, run: Run) -> None:
    path, out = exported(tmp_path, "layer_norm", True), tmp_path / "out.onnx"
    result = run("graft", str(path), "--dry-run", "--format", "json")
    assert result.code == 0
    report = json.loads(result.out)
    assert (report["schema"], report["written"]) == ("aotfactory.graft/1", None)
    assert [m["plugin"] for m in report["matches"]] == ["aotfactory::layer_norm"]
    assert not out.exists()
    assert run("graft", str(path), "-o", str(out)).code == 0
    assert out.exists()
    assert run("graft", str(path)).code == 2
    assert run("graft", str(tmp_path / "nothing.onnx"), "--dry-run").code == 2


def summed(extents: Any, *nodes: onnx.NodeProto, **initializers: Any) -> onnx.ModelProto:
    """A model of which graft replaces a GELU, beside other nodes."""
    found = [helper.make_node("Add", ["x", "b"], ["s"]), helper.make_node("Gelu", ["s"], ["y"], approximate="tanh")]
    values = {"b": np.ones(8, np.float32), **initializers}
    graph = helper.make_graph(
        [*found, *nodes],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, extents)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("shape", [(100_000, 100_000, 8), (2**31 - 1, 8), (-3, 8)])
def test_extents_that_cannot_be_compared_are_left_alone(shape: Any, tmp_path: Path) -> None:
    onnx.save(summed(shape), tmp_path / "m.onnx")
    (found,) = graft(tmp_path / "m.onnx", None)
    assert not found.replaced
    assert "which are not compared" in found.detail


def test_constants_of_a_terabyte_do_not_fill_the_memory(tmp_path: Path) -> None:
    bomb = helper.make_node("Expand", ["b", "shape"], ["large"])
    onnx.save(summed((2, 8), bomb, shape=np.array([2**37, 8])), tmp_path / "m.onnx")
    before = resource.getrlimit(resource.RLIMIT_AS)
    assert [match.replaced for match in graft(tmp_path / "m.onnx", None)] == [True]
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_only_regular_files_of_a_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "zeros.onnx").symlink_to("/dev/zero")
    (tmp_path / "sparse.onnx").touch()
    os.truncate(tmp_path / "sparse.onnx", 2**40)
    for name, why in (("pipe", "not a regular file"), ("zeros", "not a regular file"), ("sparse", "is larger than")):
        with pytest.raises(UsageError, match=why):
            graft(tmp_path / f"{name}.onnx", None)
