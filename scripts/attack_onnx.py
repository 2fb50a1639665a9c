# SPDX-License-Identifier: Apache-2.0
"""Hostile ONNX models for scripts/attacks.py: each has a plugin node of circ_pad, or means to."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attacks import Attack
from onnx import AttributeProto, TensorProto, helper

Model = onnx.ModelProto


def pad(i: int | str = "", source: str = "x", target: str = "y") -> onnx.NodeProto:
    node = helper.make_node("circ_pad", [source], [target], name=f"pad{i}", domain="aotfactory")
    node.attribute.append(helper.make_attribute("pads", [1, 1, 1, 1]))
    return node


def model(*nodes: onnx.NodeProto, shape: Any = (1, 3, 8, 8), output: str = "y", **parts: Any) -> Model:
    made = helper.make_graph(
        list(nodes) or [pad()],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        **parts,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("aotfactory", 1), helper.make_opsetid("f", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


def read(content: bytes | Callable[[Path], bytes], folder: Path) -> None:
    from aotfactory.plugins.catalog import Catalog
    from aotfactory.targets.request import TargetOptions
    from aotfactory.targets.resolve import resolve

    path = folder / "model.onnx"
    path.write_bytes(content(folder) if callable(content) else content)
    resolve(str(path), Catalog(), TargetOptions())


def attribute(change: Callable[[AttributeProto], Any]) -> bytes:
    made = model()
    change(made.graph.node[0].attribute[0])
    return made.SerializeToString()


def external(location: str, folder: Path) -> bytes:
    def change(found: AttributeProto) -> None:
        del found.ints[:]
        found.type = AttributeProto.TENSOR
        found.t.CopyFrom(TensorProto(data_type=TensorProto.INT32, dims=[4], data_location=TensorProto.EXTERNAL))
        entry = found.t.external_data.add()
        entry.key, entry.value = "location", location

    (folder / "data.bin").write_bytes(np.ones(4, np.int32).tobytes())
    return attribute(change)


def tensor(data_type: int, dims: list[int], raw: bytes = b"") -> bytes:
    def change(found: AttributeProto) -> None:
        del found.ints[:]
        found.type = AttributeProto.TENSOR
        found.t.CopyFrom(TensorProto(data_type=data_type, dims=dims, raw_data=raw))

    return attribute(change)


def functions(levels: int, fan: int, *, circle: bool = False) -> bytes:
    made = []
    for level in range(levels):
        inner = f"f{level + 1}" if level + 1 < levels else ("f0" if circle else "Identity")
        domain = "f" if inner != "Identity" else ""
        nodes = [
            helper.make_node(inner, ["a" if i == 0 else f"b{i - 1}"], [f"b{i}"], domain=domain) for i in range(fan)
        ]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
        made.append(helper.make_function("f", f"f{level}", ["a"], [f"b{fan - 1}"], nodes, opsets))
    whole = model(helper.make_node("f0", ["x"], ["t"], domain="f"), pad(source="t"))
    whole.functions.extend(made)
    return whole.SerializeToString()


def not_utf8() -> bytes:
    return model().SerializeToString().replace(b"pad", b"\xff\xfe\xfd")


def nested(levels: int) -> bytes:
    graph = helper.make_graph([pad(target="z")], "g", [], [helper.make_tensor_value_info("z", 1, None)])
    other = helper.make_graph([], "e", [], [helper.make_tensor_value_info("z", 1, None)])
    for _ in range(levels):
        node = helper.make_node("If", ["c"], ["z"], then_branch=graph, else_branch=other)
        graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("z", 1, None)])
    return model(pad(), helper.make_node("If", ["c"], ["q"], then_branch=graph, else_branch=other)).SerializeToString()


def alternating(count: int) -> bytes:
    nodes, source = [], "x"
    for i in range(count):
        nodes += [pad(i, source, f"p{i}"), helper.make_node("Relu", [f"p{i}"], [f"r{i}"])]
        source = f"r{i}"
    return model(*nodes, output=source).SerializeToString()


def calls(count: int) -> bytes:
    """Messages of protobuf are merged by writing one after the other."""
    more = Model()
    more.graph.node.append(pad())
    return model().SerializeToString() + more.SerializeToString() * count


def element(number: int) -> bytes:
    made = model()
    made.graph.input[0].type.tensor_type.elem_type = number
    return made.SerializeToString()


def models() -> Iterator[Attack]:
    refused: dict[str, bytes | Callable[[Path], bytes]] = {
        "nothing": b"",
        "not a model": b"\x00\x01\x02" * 100,
        "cut in half": model().SerializeToString()[:60],
        "element type 99": element(99),
        "element type 0": element(0),
        "element type -1": element(-1),
        "text that is not UTF-8": not_utf8(),
        "an attribute's data in /etc": functools.partial(external, "/etc/hostname"),
        "an attribute's data above the model": functools.partial(external, "../data.bin"),
        "an attribute's data in the working directory": functools.partial(external, "data.bin"),
        "an attribute of 2^40 elements without data": tensor(TensorProto.INT32, [2**40]),
        "an attribute of negative extent": tensor(TensorProto.INT32, [-4], bytes(16)),
        "an attribute of element type 99": tensor(99, [4], bytes(16)),
        "an attribute of texts": tensor(TensorProto.STRING, [1]),
        "an attribute of complex numbers": tensor(TensorProto.COMPLEX64, [4], bytes(32)),
        "an attribute of half its data": tensor(TensorProto.INT32, [4], bytes(8)),
        "an attribute of no type": attribute(lambda a: a.ClearField("type")),
        "an attribute that is a graph": attribute(lambda a: (a.ClearField("ints"), setattr(a, "type", 5))),
        "integers beyond 32 bits": attribute(lambda a: a.ints.append(2**40)),
        "functions that call themselves": functions(3, 1, circle=True),
        "30 levels of functions, twice each": functions(30, 2),
        "12 levels of functions, 8 times each": functions(12, 8),
        "plugins 20 branches deep": nested(20),
        "a circle of nodes": model(pad("a", "y", "z"), pad("b", "z", "y")).SerializeToString(),
        "a tensor made twice": model(pad("a"), pad("b")).SerializeToString(),
        "an input of nothing": model(pad(source="nowhere")).SerializeToString(),
        "no inputs of a plugin": model(
            helper.make_node("circ_pad", [], ["y"], domain="aotfactory", pads=[1, 1, 1, 1])
        ).SerializeToString(),
        "a negative dimension": model(shape=(1, 3, -8, 8)).SerializeToString(),
        "a dimension of 2^40": model(shape=(1, 3, 2**40, 8)).SerializeToString(),
        "a symbol of code": model(shape=(1, 3, "__import__('os')", 8)).SerializeToString(),
        "100,000 plugin nodes": lambda folder: calls(100_000),
        "rank 300": model(shape=(1,) * 300).SerializeToString(),
    }
    for name, content in refused.items():
        yield Attack("ONNX", name, functools.partial(read, content), seconds=20)
    taken = {
        "an attribute of kind 77": attribute(lambda a: a.MergeFromString(b"\xa0\x01\x4d")),
        "400 plugin nodes and others in turn": lambda folder: alternating(400),
        "functions 30 levels deep": functions(30, 1),
    }
    for name, content in taken.items():
        yield Attack("ONNX", name, functools.partial(read, content), refused=False, seconds=20)

    def special(kind: str, folder: Path) -> None:
        path = folder / "model.onnx"
        if kind == "a pipe":
            os.mkfifo(path)
        elif kind == "a device":
            path.symlink_to("/dev/zero")
        else:
            path.touch()
            os.truncate(path, 2**40)
        read_path(path)

    for kind in ("a pipe", "a device", "a sparse file of a terabyte"):
        yield Attack("ONNX", kind, functools.partial(special, kind))


def read_path(path: Path) -> None:
    from aotfactory.plugins.catalog import Catalog
    from aotfactory.targets.request import TargetOptions
    from aotfactory.targets.resolve import resolve

    resolve(str(path), Catalog(), TargetOptions())
