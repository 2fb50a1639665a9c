# SPDX-License-Identifier: Apache-2.0
"""The plugin calls of ONNX models, and the shapes between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_definitions import Definitions, changed

from aotfactory.core import dimensions
from aotfactory.core.errors import AotError, UsageError
from aotfactory.core.network import Network, Range
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions
from aotfactory.targets.resolve import resolve


@pytest.fixture(scope="module")
def pad() -> Definitions:
    """A plugin that adds `scale` columns."""
    import tempfile

    wider = "    out = inp0.like()\n    out.shape_expr[inp0.ndim - 1] += scale\n    return out"
    return Definitions(Path(tempfile.mkdtemp()), changed("    return inp0.like()", wider))


def node(pad: Definitions, source: str, target: str, **attributes: Any) -> onnx.NodeProto:
    attributes = {"scale": 2, "plugin_namespace": pad.namespace, "name": target, **attributes}
    return helper.make_node("copy", [source], [target], **{n: v for n, v in attributes.items() if v is not None})


def tensor(
    name: str, shape: Sequence[int | str | None] | None, element: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def nowhere(name: str) -> onnx.ValueInfoProto:
    """An output with neither type nor shape, as NVIDIA's sample exports it."""
    return helper.make_empty_tensor_value_info(name)


def load(
    directory: Path,
    pad: Definitions,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    output: str = "y",
    initializers: Sequence[onnx.TensorProto] = (),
    value_info: Sequence[onnx.ValueInfoProto] = (),
    **options: Any,
) -> Network:
    graph = helper.make_graph(nodes, "g", inputs, [nowhere(output)], initializers, value_info=value_info)
    path = directory / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return resolve(str(path), Catalog([str(pad.path)]), TargetOptions(**options))


def shapes(network: Network) -> dict[str, str]:
    return {t.name: "x".join(map(str, t.shape)) for t in network.tensors}


def roles(network: Network) -> dict[str, str]:
    return {t.name: t.role for t in network.tensors}


class TestPluginNodes:
    def test_static(self, tmp_path: Path, pad: Definitions) -> None:
        network = load(tmp_path, pad, [node(pad, "x", "y", aot=1, plugin_version="1")], [tensor("x", [1, 8])])
        assert shapes(network) == {"x": "1x8", "y": "1x10"}
        (call,) = network.calls
        assert (call.name, call.plugin, call.attributes) == ("y", pad.id, {"scale": 2})
        assert (network.name, network.target) == ("model", str(tmp_path / "model.onnx"))

    def test_the_domain_as_namespace(self, tmp_path: Path, pad: Definitions) -> None:
        made = node(pad, "x", "y", plugin_namespace=None)
        made.domain = pad.namespace
        assert load(tmp_path, pad, [made], [tensor("x", [1, 8])]).calls[0].plugin == pad.id

    def test_the_attribute_goes_before_the_domain(self, tmp_path: Path, pad: Definitions) -> None:
        made = node(pad, "x", "y")
        made.domain = "somebody"
        assert load(tmp_path, pad, [made], [tensor("x", [1, 8])]).calls[0].plugin == pad.id

    def test_several_and_what_is_between_them(self, tmp_path: Path, pad: Definitions) -> None:
        relu = helper.make_node("Relu", ["a"], ["b"])
        network = load(tmp_path, pad, [node(pad, "x", "a"), relu, node(pad, "b", "y")], [tensor("x", ["N", 8])],
                       min_shape={"x": (1, 8)}, max_shape={"x": (4, 8)})  # fmt: skip
        assert shapes(network) == {"x": "Nx8", "a": "Nx10", "b": "Nx10", "y": "Nx12"}
        assert roles(network) == {"x": "input", "a": "output", "b": "input", "y": "output"}

    def test_one_after_the_other(self, tmp_path: Path, pad: Definitions) -> None:
        network = load(tmp_path, pad, [node(pad, "x", "a"), node(pad, "a", "y")], [tensor("x", [1, 8])])
        assert roles(network) == {"x": "input", "a": "internal", "y": "output"}

    def test_an_expression_passes_through_other_nodes(self, tmp_path: Path, pad: Definitions) -> None:
        relu = helper.make_node("Relu", ["a"], ["b"])
        network = load(tmp_path, pad, [node(pad, "x", "a"), relu, node(pad, "b", "y")], [tensor("x", [1, "W"])],
                       min_shape={"x": (1, 8)}, max_shape={"x": (1, 64)})  # fmt: skip
        assert shapes(network) == {"x": "1xW", "a": "1xW+2", "b": "1xW+2", "y": "1xW+4"}
        # Only a plain dimension says what its symbol is.
        assert dimensions.bind(network, {"x": (1, 20), "b": (1, 22)}) == {"W": 20}

    def test_shapes_are_inferred_anew_after_each(self, tmp_path: Path, pad: Definitions) -> None:
        before, between = helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["b"], ["c"])
        network = load(
            tmp_path, pad, [before, node(pad, "a", "b"), between, node(pad, "c", "y")], [tensor("x", [1, 8])]
        )
        assert shapes(network) == {"a": "1x8", "b": "1x10", "c": "1x10", "y": "1x12"}

    def test_an_initializer_as_input(self, tmp_path: Path, pad: Definitions) -> None:
        weight = numpy_helper.from_array(np.zeros((3, 4), np.float32), "w")
        nodes = [node(pad, "w", "a"), helper.make_node("MatMul", ["x", "a"], ["y"])]
        network = load(tmp_path, pad, nodes, [tensor("x", [1, 3])], initializers=[weight])
        assert shapes(network) == {"w": "3x4", "a": "3x6"}
        assert roles(network) == {"w": "input", "a": "output"}

    def test_shapes_that_only_the_file_knows(self, tmp_path: Path, pad: Definitions) -> None:
        unknown = helper.make_node("Mystery", ["x"], ["a"], domain="somebody")
        network = load(
            tmp_path, pad, [unknown, node(pad, "a", "y")], [tensor("x", [1, 8])], value_info=[tensor("a", [5, 6])]
        )
        assert shapes(network) == {"a": "5x6", "y": "5x8"}

    def test_dimensions_that_only_other_nodes_use_are_left_out(self, tmp_path: Path, pad: Definitions) -> None:
        nodes = [helper.make_node("Relu", ["other"], ["z"]), node(pad, "x", "y")]
        network = load(tmp_path, pad, nodes, [tensor("other", ["M"]), tensor("x", ["N", 8])],
                       min_shape={"x": (1, 8), "other": (1,)}, max_shape={"x": (4, 8), "other": (9,)})  # fmt: skip
        assert network.ranges == {"N": Range(min=1, opt=4, max=4)}
        assert set(shapes(network)) == {"x", "y"}

    def test_nodes_that_share_a_name_or_have_none(self, tmp_path: Path, pad: Definitions) -> None:
        names = ["/block.0/pad", "/block_0/pad", "", ""]
        tensors = ["x", "a", "b", "c", "y"]
        nodes = [node(pad, tensors[i], tensors[i + 1], name=name) for i, name in enumerate(names)]
        network = load(tmp_path, pad, nodes, [tensor("x", [1, 8])])
        assert [c.name for c in network.calls] == ["_block_0_pad", "_block_0_pad_1", "copy_2", "copy_3"]

    def test_inside_a_function(self, tmp_path: Path, pad: Definitions) -> None:
        body = helper.make_function("local", "F", ["i"], ["o"], [node(pad, "i", "o")], [helper.make_opsetid("", 17)])
        graph = helper.make_graph(
            [helper.make_node("F", ["x"], ["y"], domain="local")], "g", [tensor("x", [1, 8])], [nowhere("y")]
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        onnx.save(helper.make_model(graph, functions=[body], opset_imports=opsets), tmp_path / "m.onnx")
        network = resolve(str(tmp_path / "m.onnx"), Catalog([str(pad.path)]), TargetOptions())
        assert shapes(network) == {"x": "1x8", "y": "1x10"}


class TestInputs:
    @pytest.mark.parametrize("open_dimension", ["N", None, "not an identifier", "class"])
    def test_open_dimensions(self, tmp_path: Path, pad: Definitions, open_dimension: str | None) -> None:
        inputs = [tensor("x", [open_dimension, 8])]
        network = load(tmp_path, pad, [node(pad, "x", "y")], inputs, min_shape={None: (1, 8)}, max_shape={None: (4, 8)})
        symbol = "N" if open_dimension == "N" else "x_x_0"
        assert shapes(network) == {"x": f"{symbol}x8", "y": f"{symbol}x10"}
        network = load(tmp_path, pad, [node(pad, "x", "y")], inputs, shape={"x": (2, 8)})
        assert shapes(network) == {"x": "2x8", "y": "2x10"}

    def test_no_shape_at_all(self, tmp_path: Path, pad: Definitions) -> None:
        network = load(tmp_path, pad, [node(pad, "x", "y")], [tensor("x", None)], shape={"x": (2, 8)})
        assert shapes(network) == {"x": "2x8", "y": "2x10"}

    def test_one_symbol_in_two_inputs(self, tmp_path: Path, pad: Definitions) -> None:
        nodes = [helper.make_node("Add", ["x", "z"], ["a"]), node(pad, "a", "y")]
        inputs = [tensor("x", ["N", 8]), tensor("z", ["N", 8])]
        with pytest.raises(UsageError, match="both dimension N, but one is 3 and the other 2"):
            load(tmp_path, pad, nodes, inputs, shape={"x": (2, 8), "z": (3, 8)})

    @pytest.mark.parametrize(
        ("element", "name"),
        [
            (TensorProto.BFLOAT16, "bf16"),
            (TensorProto.FLOAT16, "fp16"),
            (TensorProto.FLOAT8E4M3FN, "fp8"),
            (TensorProto.BOOL, "bool"),
        ],
    )
    def test_types(self, tmp_path: Path, pad: Definitions, element: int, name: str) -> None:
        network = load(tmp_path, pad, [node(pad, "x", "a"), node(pad, "a", "y")], [tensor("x", [1, 8], element)])
        assert {t.dtype for t in network.tensors} == {name}

    @pytest.mark.parametrize(
        ("inputs", "options", "message"),
        [
            ([tensor("x", ["N", 8])], {}, "dimension N of input 'x' is open in the model"),
            ([tensor("x", [None, 8])], {}, "dimension . of input 'x' is open in the model"),
            ([tensor("x", None)], {}, "the shape of input 'x' is open in the model"),
            ([tensor("x", [1, 8])], {"shape": {"x": (1, 9)}}, "input 'x' is 1x8 in the model, not 1x9"),
            ([tensor("x", ["N", 8])], {"shape": {"x": (1, 8, 8)}}, "input 'x' is Nx8 in the model, not 1x8x8"),
            ([tensor("x", [1, 8])], {"shape": {"z": (1, 8)}}, "has no input 'z'"),
            ([tensor("x", [1, 8])], {"attributes": {"scale": "3"}}, "--attr does not apply to an ONNX file"),
            ([tensor("x", [1, 8])], {"dtype": {None: "fp16"}}, "--dtype does not apply to an ONNX file"),
            ([tensor("x", [1, 8], TensorProto.DOUBLE)], {}, "input 'x' is DOUBLE in the model"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit(
        self, tmp_path: Path, pad: Definitions, inputs: list[Any], options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(UsageError, match=message):
            load(tmp_path, pad, [node(pad, "x", "y")], inputs, **options)


class TestAttributes:
    @pytest.mark.parametrize(
        ("kind", "given", "value"),
        [
            ("int", 5, 5),
            ("float", 0.5, 0.5),
            ("bool", 1, True),
            ("str", "abc", "abc"),
            ("bytes", "abc", b"abc"),
            ("npt.NDArray[np.int32]", [1, 2], np.array([1, 2], np.int32)),
            ("npt.NDArray[np.int32]", 3, np.array([3], np.int32)),
            ("npt.NDArray[np.float32]", [0.5], np.array([0.5], np.float32)),
            ("npt.NDArray[np.int64]", numpy_helper.from_array(np.array([7, 8])), np.array([7, 8])),
        ],
    )
    def test_of_all_types(self, tmp_path: Path, kind: str, given: Any, value: Any) -> None:
        plugin = Definitions(tmp_path, changed("scale: int", f"scale: {kind}"))
        network = load(tmp_path, plugin, [node(plugin, "x", "y", scale=given)], [tensor("x", [1, 8])])
        np.testing.assert_array_equal(network.calls[0].attributes["scale"], value, strict=True)

    @pytest.mark.parametrize("given", [None, "abc", [1, 2]])
    def test_missing_or_wrong(self, tmp_path: Path, pad: Definitions, given: Any) -> None:
        with pytest.raises(UsageError, match="attribute scale"):
            load(tmp_path, pad, [node(pad, "x", "y", scale=given)], [tensor("x", [1, 8])])


class TestProblems:
    def test_no_plugin_node(self, tmp_path: Path, pad: Definitions) -> None:
        nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Mystery", ["a"], ["y"], domain="somebody")]
        with pytest.raises(UsageError, match="has no plugin node") as caught:
            load(tmp_path, pad, nodes, [tensor("x", [1, 8])])
        assert "nodes that may be meant are somebody::Mystery" in str(caught.value.hint)

    def test_a_plugin_that_is_not_loaded(self, tmp_path: Path, pad: Definitions) -> None:
        with pytest.raises(UsageError, match="no plugin 'somebody::copy' is registered"):
            load(tmp_path, pad, [node(pad, "x", "y", plugin_namespace="somebody")], [tensor("x", [1, 8])])

    def test_a_shape_that_nothing_tells(self, tmp_path: Path, pad: Definitions) -> None:
        unknown = helper.make_node("Mystery", ["x"], ["a"], domain="somebody")
        with pytest.raises(UsageError, match=rf"the shape of 'a', an input of {pad.id}, is not known") as caught:
            load(tmp_path, pad, [unknown, node(pad, "a", "y")], [tensor("x", [1, 8])])
        assert "--fold-constants" in str(caught.value.hint)
        assert "[fold]" in str(caught.value.hint)

    def test_a_dimension_that_nothing_tells(self, tmp_path: Path, pad: Definitions) -> None:
        join = helper.make_node("Tile", ["x", "times"], ["a"])
        inputs = [tensor("x", ["N", 8]), tensor("times", [2], TensorProto.INT64)]
        with pytest.raises(UsageError, match=r"dimension 0 of 'a', an input of .*, is not known"):
            load(tmp_path, pad, [join, node(pad, "a", "y")], inputs, dims={"N": (1, 4, 4)})

    def test_a_plugin_in_a_branch(self, tmp_path: Path, pad: Definitions) -> None:
        branch = helper.make_graph([node(pad, "x", "t")], "branch", [], [nowhere("t")])
        nodes = [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)]
        with pytest.raises(UsageError, match=f"{pad.id} is inside a branch or body of If"):
            load(tmp_path, pad, nodes, [tensor("x", [1, 8]), tensor("c", [], TensorProto.BOOL)])

    def test_too_many_inputs(self, tmp_path: Path, pad: Definitions) -> None:
        made = node(pad, "x", "y")
        made.input.append("x")
        with pytest.raises(UsageError, match="takes 1 inputs"):
            load(tmp_path, pad, [made], [tensor("x", [1, 8])])

    @pytest.mark.parametrize("content", [b"", b"\x08", b"not a model", b"\xff" * 64])
    def test_not_a_model(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(UsageError, match="is not an ONNX model"):
            resolve(str(tmp_path / "bad.onnx"), Catalog(), TargetOptions())

    def test_a_directory(self, tmp_path: Path) -> None:
        (tmp_path / "dir.onnx").mkdir()
        with pytest.raises(UsageError, match=r"cannot read .*: is not a regular file"):
            resolve(str(tmp_path / "dir.onnx"), Catalog(), TargetOptions())


def test_the_definitions_mistakes_are_told_for_onnx_too(tmp_path: Path) -> None:
    plugin = Definitions(tmp_path, changed("    return inp0.like()", "    return None  # HERE"))
    with pytest.raises(AotError, match="register of") as caught:
        load(tmp_path, plugin, [node(plugin, "x", "y")], [tensor("x", [1, 8])])
    assert caught.value.exit_code == 4
