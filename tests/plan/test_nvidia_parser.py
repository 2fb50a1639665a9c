# SPDX-License-Identifier: Apache-2.0
"""Models for TensorRT's parser, read by NVIDIA's own; and the plan step's calls on a builder of NVIDIA's."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from doubles.parser import _field
from onnx import TensorProto, helper

from aotfactory.plan.onnx_export import export
from aotfactory.plugins.catalog import Catalog, shipped
from aotfactory.targets.request import TargetOptions
from aotfactory.targets.resolve import resolve

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None or importlib.util.find_spec("tensorrt_rtx_libs") is None,
    reason="TensorRT-RTX is not installed: pip install tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings",
)

RESERVED = ("plugin_namespace", "plugin_version", "aot")


def passed(jobs: list[Any], what: str = "fields") -> list[Any]:
    """The fields that the creator gets for each model; None where the parser refuses it."""
    program = Path(__file__).with_name("nvidia_parser.py")
    done = subprocess.run(
        [sys.executable, program, what], input=json.dumps(jobs), capture_output=True, text=True, check=True, timeout=300
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(jobs), done.stderr
    return [json.loads(line) for line in lines]


def job(model: onnx.ModelProto, path: Path) -> list[Any]:
    """A model's first plugin node, as `passed` takes it."""
    onnx.save(model, path)
    node = model.graph.node[0]
    namespace = next((a.s.decode() for a in node.attribute if a.name == "plugin_namespace"), node.domain)
    return [str(path), node.op_type, namespace, [a.name for a in node.attribute if a.name not in RESERVED]]


def expected(node: onnx.NodeProto) -> dict[str, Any]:
    """What the double of the parser makes of the node."""
    found = {}
    for attribute in node.attribute:
        if attribute.name not in RESERVED:
            field = _field(attribute)
            data = field.data if isinstance(field.data, np.ndarray) else np.frombuffer(field.data, np.int8)
            found[attribute.name] = [field.type.name, data.tolist()]
    return found


def test_every_recipe_arrives(tmp_path: Path) -> None:
    catalog = Catalog()
    models = {}
    for name in shipped():
        catalog.find(name)
    for name in sorted(catalog.recipes):
        if catalog.recipes[name].dtypes[0] != "fp8":
            models[name] = export(resolve(name, catalog, TargetOptions()), aot=True)
    jobs = [job(model, tmp_path / f"{name}.onnx") for name, model in models.items()]
    found = dict(zip(models, passed(jobs), strict=True))
    assert found == {name: expected(model.graph.node[0]) for name, model in models.items()}


def model(domain: str = "", **attributes: Any) -> onnx.ModelProto:
    node = helper.make_node("Thing", ["x"], ["y"], domain=domain, **attributes)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 64]) for name in "xy"]
    opsets = [helper.make_opsetid("", 20), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:]), opset_imports=opsets, ir_version=10)


def tensor(kind: int, values: list[Any]) -> onnx.TensorProto:
    return helper.make_tensor("t", kind, [len(values)], values)


def test_attributes_arrive_as_the_double_has_them(tmp_path: Path) -> None:
    values = {
        "float": 0.1,
        "int": 7,
        "truncated": 2**40 + 5,
        "floats": [0.1, 2.0],
        "ints": [1, 2**33 + 1],
        "text": "schön",
        "binary": b"\x80\x00\xff",
        "double": helper.make_tensor("t", TensorProto.DOUBLE, [], [2.1]),
        "doubles": tensor(TensorProto.DOUBLE, [0.1]),
        "int8s": tensor(TensorProto.INT8, [-1, 2]),
        "flat": helper.make_tensor("t", TensorProto.INT32, [2, 2], [1, 2, 3, 4]),
        "empty": tensor(TensorProto.INT32, []),
    }
    models = [model(plugin_namespace="demo", plugin_version="1", value=value) for value in values.values()]
    found = passed([job(m, tmp_path / f"{i}.onnx") for i, m in enumerate(models)])
    assert dict(zip(values, found, strict=True)) == {
        name: expected(m.graph.node[0]) for name, m in zip(values, models, strict=True)
    }


def test_what_the_parser_does_not_find(tmp_path: Path) -> None:
    by_domain, elsewhere, version = model("demo"), model(plugin_namespace="demo"), model("", plugin_version="2")
    version.graph.node[0].attribute.append(helper.make_attribute("plugin_namespace", "demo"))
    jobs = [job(m, tmp_path / f"{i}.onnx") for i, m in enumerate((by_domain, elsewhere, version))]
    jobs[1][2] = "other"
    found = passed(jobs)
    assert found[0] == {}  # the domain stands for the namespace
    assert found[1] is None
    assert found[2] is None


@pytest.mark.parametrize(
    "kind", ["INT64", "UINT8", "BOOL", "INT16", "UINT32"]
)  # which the tables say do not arrive, and for which the double raises
def test_tensors_that_do_not_arrive(tmp_path: Path, kind: str) -> None:
    m = model(plugin_namespace="demo", value=tensor(getattr(TensorProto, kind), [1, 0]))
    assert passed([job(m, tmp_path / "m.onnx")]) == [None]
    with pytest.raises(ValueError, match="unsupported in plugin fields"):
        expected(m.graph.node[0])


def test_the_plan_step_on_a_builder_of_nvidias(tmp_path: Path) -> None:
    """Network, profile, configuration, progress, timing cache and ctrl-C, on a model without plugin nodes."""
    weight = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4), helper.make_node("Relu", ["c"], ["y"])]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", c, 8, 8]) for n, c in (("x", 3), ("y", 4))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])
    good, bad = tmp_path / "good.onnx", tmp_path / "bad.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), good)
    graph.node[1].op_type = "NoSuchOperator"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), bad)
    dims = {"N": [1, 2, 4]}
    built, stopped, refused = passed(
        [[str(good), dims, False], [str(good), dims, True], [str(bad), dims, False]], "build"
    )
    assert built["bytes"] > 10_000
    assert built["phases"] > 10
    assert built["profiles"] == {"x": [[n, 3, 8, 8] for n in (1, 2, 4)]}
    assert built["outputs"] == ["y"]
    assert stopped == {"interrupted": True}
    assert "TensorRT's ONNX parser refused the model" in refused["error"]
    assert "Plugin not found" in refused["error"]
