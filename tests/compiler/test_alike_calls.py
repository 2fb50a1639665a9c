# SPDX-License-Identifier: Apache-2.0
"""Nodes of a model that have the same kernels: each kernel is compiled and interpreted once."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import TensorProto, helper, save

from aotfactory.compiler.compile import Options, compile_network
from aotfactory.core.arch import parse_archs
from aotfactory.core.network import Network
from aotfactory.executors.interpreter import check as interpreter
from aotfactory.plugins.catalog import Catalog
from aotfactory.plugins.plugin_call import PluginCall
from aotfactory.targets.request import TargetOptions
from aotfactory.targets.resolve import resolve

NODES = 20


def model(folder: Path) -> Network:
    """A column of elementwise_add nodes, the last with another size of block."""
    nodes = []
    for i in range(NODES):
        size = {"block_size": 128 if i == NODES - 1 else 256}
        nodes.append(
            helper.make_node("elementwise_add", [f"t{i}"], [f"t{i + 1}"], f"n{i}", domain="aotfactory", **size)
        )
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 64]) for name in ("t0", f"t{NODES}")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), folder / "m.onnx")
    return resolve(str(folder / "m.onnx"), Catalog(), TargetOptions(dims={"N": (1, 2, 4)}))


def test_each_kernel_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = model(tmp_path)
    asked = []
    kernel = PluginCall.kernel
    monkeypatch.setattr(PluginCall, "kernel", lambda self, *which: asked.append(which) or kernel(self, *which))
    options = Options(archs=parse_archs("sm_90"))
    results = compile_network(network, options, lambda name: None)
    assert len(asked) == 2
    assert [r.call.name for r in results] == [call.name for call in network.calls]
    variants = [r.variant for r in results if r.variant is not None]
    assert len({v.kernel for v in variants}) == len({v.id for v in variants}) == len({v.ptx for v in variants}) == NODES
    for result, variant in zip(results, variants, strict=True):
        assert (variant.call, variant.id) == (result.call.name, result.id)
        assert f".entry {variant.kernel}(" in variant.text
        assert {check.subject for check in result.checks} == {result.id}
        assert not any(check.status == "failed" for check in result.checks)
    # As if they had been compiled one by one.
    alone = compile_network(model(tmp_path), options, lambda name: None)
    assert [r.variant for r in alone] == variants


def test_each_kernel_is_interpreted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = model(tmp_path)
    results = compile_network(network, Options(archs=parse_archs("sm_90")), lambda name: None)
    jobs = []
    run = interpreter._run
    monkeypatch.setattr(interpreter, "_run", lambda net, given, *rest: jobs.extend(given) or run(net, given, *rest))
    found = interpreter.check(network, results, ["aotfactory.kernels.elementwise_add"])
    assert len(jobs) == 2
    assert {c.subject for c in found} == {r.id for r in results}
    assert {c.status for c in found} == {"passed"}
