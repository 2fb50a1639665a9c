# SPDX-License-Identifier: Apache-2.0
"""The rows of docs/onnx.md: what TensorRT's parser does with a plugin's node, and what is done here."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_definitions import Definitions, changed

from aotfactory.core.errors import UsageError
from aotfactory.core.network import Network, Range
from aotfactory.plan import onnx_export
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions
from aotfactory.targets.resolve import resolve

TABLE = Path(__file__).parents[2] / "docs" / "onnx.md"
NEWEST = onnx.defs.onnx_opset_version()


def plugin(kind: str = "int") -> Definitions:
    """A plugin that copies its input, with one attribute of this type."""
    return Definitions(Path(tempfile.mkdtemp()), changed("scale: int", f"scale: {kind}"))


@pytest.fixture(scope="module")
def copy() -> Definitions:
    return plugin()


@pytest.fixture(scope="module")
def narrow() -> Definitions:
    """A plugin that gives four columns fewer, as int32."""
    lines = ["out = inp0.like()", "out.shape_expr[1] = out.shape_expr[1] - 4", "out.dtype = trt.int32", "return out"]
    body = "".join(f"    {line}\n" for line in lines)
    return Definitions(Path(tempfile.mkdtemp()), changed("    return inp0.like()", body))


@pytest.fixture(scope="module")
def two() -> Definitions:
    """A plugin with two outputs."""
    before = "(inp0: trtp.TensorDesc, scale: int) -> trtp.TensorDesc:\n    return inp0.like()"
    after = before.replace("-> trtp.TensorDesc", "-> Tuple[trtp.TensorDesc, trtp.TensorDesc]") + ", inp0.like()"
    return Definitions(Path(tempfile.mkdtemp()), changed(before, after))


def node(of: Definitions, inputs: Sequence[str] = ("x",), outputs: Sequence[str] = ("y",), **attributes: Any) -> Any:
    given = {"scale": 2, "plugin_namespace": of.namespace, **attributes}
    return helper.make_node("copy", inputs, outputs, **{n: v for n, v in given.items() if v is not None})


def value(name: str, shape: Sequence[Any] | None, element: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


X = value("x", ["N", 64])


class Model:
    """A model in a file; `build` gives its network."""

    def __init__(self, folder: Path, of: Definitions, nodes: Sequence[Any], inputs: Sequence[Any] = (X,), **parts: Any):
        outputs = parts.pop("outputs", [helper.make_empty_tensor_value_info(nodes[-1].output[0])])
        opset = parts.pop("opset", 20)
        functions = parts.pop("functions", ())
        imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(f.domain, 1) for f in functions)]
        graph = helper.make_graph(nodes, "g", inputs, outputs, **parts)
        self.of, self.path = of, folder / "model.onnx"
        onnx.save(helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=10), self.path)

    def build(self, **options: Any) -> Network:
        options = options or {"dims": {"N": (1, 8, 32)}}
        return resolve(str(self.path), Catalog([str(self.of.path)]), TargetOptions(**options))

    def marked(self, **options: Any) -> onnx.ModelProto:
        """As TensorRT's parser gets it."""
        options = options or {"dims": {"N": (1, 8, 32)}}
        network = self.build(**options)
        return onnx_export.mark(self.path, network, TargetOptions(**options), aot=True)[0]


def refused(message: str, hint: str = "") -> Any:
    """The build is refused with exit code 2, and the remedy is one for a model."""
    context = pytest.raises(UsageError, match=message)

    class Context:
        def __enter__(self) -> None:
            self.caught = context.__enter__()

        def __exit__(self, *error: Any) -> bool:
            done = context.__exit__(*error)
            text = str(self.caught.value)
            assert self.caught.value.exit_code == 2
            assert "--attr" not in text
            assert re.search(hint, str(self.caught.value.hint)), text
            return bool(done)

    return Context()


ROWS: dict[str, Callable[..., None]] = {}
"""The tests by the row of the table that they are for."""


def row(title: str) -> Callable[[Any], Any]:
    def mark(test: Any) -> Any:
        ROWS[title] = test
        return test

    return mark


# --- which nodes are plugins ---------------------------------------------------------------------------------------


@row("the name of a built-in operator")
def test_a_plugin_with_a_built_in_operators_name(tmp_path: Path) -> None:
    relu = Definitions(Path(tempfile.mkdtemp()))
    relu.path.write_text(relu.path.read_text().replace("::copy", "::Relu"))
    made = helper.make_node("Relu", ["x"], ["y"], domain=relu.namespace, scale=2)
    model = Model(tmp_path, relu, [made])
    assert [c.plugin for c in model.build().calls] == [f"{relu.namespace}::Relu"]
    (marked,) = model.marked().graph.node
    assert {a.name: a.s for a in marked.attribute}["plugin_namespace"] == relu.namespace.encode()


@row("a local function of the plugin's name")
@pytest.mark.parametrize("by", ["domain", "attribute"])
def test_a_function_of_the_plugins_name(tmp_path: Path, copy: Definitions, by: str) -> None:
    body = [helper.make_node("Neg", ["a"], ["b"])]
    attributes = ["scale", "plugin_namespace"]
    function = helper.make_function(
        copy.namespace, "copy", ["a"], ["b"], body, [helper.make_opsetid("", 20)], attributes
    )
    call = node(copy, plugin_namespace=copy.namespace if by == "attribute" else None)
    call.domain = copy.namespace
    model = Model(tmp_path, copy, [call], functions=[function])
    assert [c.plugin for c in model.build().calls] == [copy.id]
    assert [n.op_type for n in model.marked().graph.node] == ["copy"]


def test_other_functions_are_inlined_around_it(tmp_path: Path, copy: Definitions) -> None:
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(copy.namespace, 1)]
    inner = helper.make_function(
        copy.namespace, "copy", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], opsets[:1]
    )
    body = [helper.make_node("Relu", ["i"], ["r"]), node(copy, ["r"], ["o"])]
    body[1].domain = copy.namespace
    outer = helper.make_function("local", "Block", ["i"], ["o"], body, opsets)
    model = Model(tmp_path, copy, [helper.make_node("Block", ["x"], ["y"], domain="local")], functions=[inner, outer])
    network = model.build()
    assert [c.plugin for c in network.calls] == [copy.id]
    assert network.beside == {"Relu": 1}


@row("another plugin_version")
@pytest.mark.parametrize(("version", "fits"), [("1", True), ("2", False), ("", False), (b"\xff", False)])
def test_versions(tmp_path: Path, copy: Definitions, version: Any, fits: bool) -> None:
    model = Model(tmp_path, copy, [node(copy, plugin_version=version)])
    if fits:
        (marked,) = model.marked().graph.node
        names = [a.name for a in marked.attribute]
        assert sorted(names) == ["aot", "plugin_namespace", "plugin_version", "scale"]
    else:
        with refused("plugin_version is", "version 1"):
            model.build()


@row("no namespace, or a wrong one")
@pytest.mark.parametrize(("name", "namespace"), [("twin", None), ("Twin", "right"), ("twin", "Wrong")])
def test_names_that_nearly_fit_are_mentioned(tmp_path: Path, name: str, namespace: Any) -> None:
    # By a name of its own: every test of this process that defines `copy` has left a plugin that nearly fits.
    twin = Definitions(tmp_path, changed("NS::copy", "NS::twin"))
    made = node(twin, plugin_namespace=None)
    made.op_type, made.domain = name, {None: "", "right": twin.namespace}.get(namespace, namespace)
    with refused("has no plugin node", f"operator twin, plugin_namespace '{twin.namespace}'"):
        Model(tmp_path, twin, [made]).build()


@row("a node of an unknown domain")
def test_nodes_beside_the_plugins_are_counted(tmp_path: Path, copy: Definitions) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Mystery", ["a"], ["b"], domain="somebody")]
    network = Model(tmp_path, copy, [*nodes, node(copy)]).build()
    assert network.beside == {"Relu": 1, "somebody::Mystery": 1}


# --- outputs and inputs --------------------------------------------------------------------------------------------


@row("more outputs than the plugin has")
def test_too_many_outputs(tmp_path: Path, copy: Definitions) -> None:
    with refused(r"node 0 \(copy\).*the node has 2 outputs \(y, z\), the plugin 1", "take the others out"):
        Model(tmp_path, copy, [node(copy, outputs=["y", "z"])]).build()


@row("outputs without a name")
@pytest.mark.parametrize(
    ("given", "names"),
    [(["y", "z"], ("y", "z")), (["y"], ("y", "y.1")), (["y", ""], ("y", "y.1")), (["", "z"], ("z.0", "z"))],
)
def test_outputs_without_names(tmp_path: Path, two: Definitions, given: list[str], names: tuple[str, ...]) -> None:
    used = next(n for n in given if n)
    model = Model(tmp_path, two, [node(two, outputs=given)], outputs=[helper.make_empty_tensor_value_info(used)])
    network = model.build()
    assert network.calls[0].outputs == names
    assert {t.role for t in network.tensors if t.name in names} == {"output"}
    assert tuple(model.marked().graph.node[0].output) == names


def test_a_trailing_output_without_a_name(tmp_path: Path, copy: Definitions) -> None:
    assert Model(tmp_path, copy, [node(copy, outputs=["y", ""])]).build().calls[0].outputs == ("y",)


@row("an input left out")
def test_inputs_are_not_optional(tmp_path: Path, copy: Definitions) -> None:
    with refused("leaves an input out", "not optional"):
        Model(tmp_path, copy, [node(copy, inputs=[""])]).build()
    with refused("takes 1 inputs"):
        Model(tmp_path, copy, [node(copy, inputs=["x", "x"])]).build()


# --- attributes ----------------------------------------------------------------------------------------------------


def attribute_of(tmp_path: Path, kind: str, given: Any) -> tuple[Any, onnx.AttributeProto]:
    """The value that the plugin is compiled with, and the attribute that TensorRT's parser gets."""
    of = plugin(kind)
    model = Model(tmp_path, of, [node(of, scale=given)])
    sent = next(a for a in model.marked().graph.node[0].attribute if a.name == "scale")
    return model.build().calls[0].attributes["scale"], sent


def as_tensor(array: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array), "t")


@row("types and counts of attributes")
@pytest.mark.parametrize(
    ("kind", "given", "compiled", "sent"),
    [
        ("int", 3, 3, "INT"),
        ("int", [3], 3, "INT"),
        ("int", as_tensor(np.array(3, np.int64)), 3, "INT"),
        ("int", as_tensor(np.array([3], np.int8)), 3, "INT"),
        ("bool", 1, True, "INT"),
        ("bool", as_tensor(np.array([True])), True, "INT"),
        ("float", 2.5, 2.5, "FLOAT"),
        ("float", 2, 2.0, "FLOAT"),
        ("float", [2.5], 2.5, "FLOAT"),
        ("float", as_tensor(np.array(2.1)), 2.1, "FLOAT"),
        ("float", as_tensor(np.array([2.1])), 2.1, "FLOAT"),
        ("str", "schön", "schön", "STRING"),
        ("str", "", "", "STRING"),
        ("bytes", b"\x80\x00\xff", b"\x80\x00\xff", "STRING"),
        ("bytes", b"abc", b"abc", "STRING"),
        ("npt.NDArray[np.int32]", [1, 2], np.array([1, 2], np.int32), "INTS"),
        ("npt.NDArray[np.int32]", as_tensor(np.array([[1, 2]], np.int32)), np.array([1, 2], np.int32), "INTS"),
        ("npt.NDArray[np.int32]", as_tensor(np.array([], np.int32)), np.array([], np.int32), "TENSOR"),
        ("npt.NDArray[np.int64]", as_tensor(np.array([7, 8])), np.array([7, 8]), "INTS"),
        ("npt.NDArray[np.float32]", [1, 2], np.array([1, 2], np.float32), "FLOATS"),
        ("npt.NDArray[np.float32]", as_tensor(np.array([0.1])), np.array([0.1], np.float32), "FLOATS"),
        ("npt.NDArray[np.float16]", [0.5], np.array([0.5], np.float16), "TENSOR"),
    ],
)  # fmt: skip
def test_attributes(tmp_path: Path, kind: str, given: Any, compiled: Any, sent: str) -> None:
    found, attribute = attribute_of(tmp_path, kind, given)
    np.testing.assert_array_equal(found, compiled, strict=isinstance(compiled, np.ndarray))
    assert type(found) is type(compiled)
    assert onnx.AttributeProto.AttributeType.Name(attribute.type) == sent


@row("integers beyond 32 bits")
@pytest.mark.parametrize(
    ("kind", "given"), [("int", 2**40), ("npt.NDArray[np.int64]", [2**40]), ("int", as_tensor(np.array([-(2**40)])))]
)
def test_integers_beyond_32_bits(tmp_path: Path, kind: str, given: Any) -> None:
    with refused("attribute scale is -?1099511627776", "32 bits"):
        attribute_of(tmp_path, kind, given)


@row("floats beyond float32")
def test_floats_beyond_float32(tmp_path: Path) -> None:
    with refused(r"attribute scale has 1e\+300", "float32"):
        attribute_of(tmp_path, "float", as_tensor(np.array(1e300)))


@row("a text that is not UTF-8")
def test_a_text_that_is_not_utf8(tmp_path: Path) -> None:
    with refused("which is not UTF-8", "declare the attribute as bytes"):
        attribute_of(tmp_path, "str", "schön".encode("latin-1"))


@row("other kinds of attributes")
@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("str", ["a", "b"], "STRINGS"),
        ("int", "3", "is a STRING"),
        ("npt.NDArray[np.int32]", "1,2", "is a STRING"),
        ("str", 3, "attribute scale is INT"),
        ("int", 2.5, "is int, not 2.5"),
        ("int", [1, 2], r"is int, not \[1, 2\]"),
        ("int", helper.make_graph([], "g", [], []), "GRAPH"),
        ("bytes", as_tensor(np.array([1], np.uint8)), "TENSOR"),
        ("int", helper.make_tensor("t", TensorProto.STRING, [1], [b"a"]), "a tensor of STRING"),
        ("int", onnx.TensorProto(name="t", dims=[9], data_type=TensorProto.INT32, raw_data=b"12"), "damaged tensor"),
    ],
)  # fmt: skip
def test_attributes_that_do_not_fit(tmp_path: Path, kind: str, given: Any, message: str) -> None:
    with refused(message):
        attribute_of(tmp_path, kind, given)


@row("a missing or an unknown attribute")
@pytest.mark.parametrize(
    ("attributes", "message"),
    [({"scale": None}, "needs the attribute scale"), ({"comment": "x"}, "no attribute comment")],
)
def test_missing_and_unknown_attributes(tmp_path: Path, copy: Definitions, attributes: Any, message: str) -> None:
    with refused(message, "its attributes are scale: int"):
        Model(tmp_path, copy, [node(copy, **attributes)]).build()


def test_nodes_of_one_plugin_with_other_attributes(tmp_path: Path, copy: Definitions) -> None:
    nodes = [node(copy, ["x"], ["a"], scale=1), node(copy, ["a"], ["b"], scale=2), node(copy, ["b"], ["y"], scale=1)]
    model = Model(tmp_path, copy, nodes)
    assert [c.attributes["scale"] for c in model.build().calls] == [1, 2, 1]
    assert len(model.marked().graph.node) == 3


# --- types and shapes ----------------------------------------------------------------------------------------------

COPY_SHAPE = [
    helper.make_node("Shape", ["x"], ["shape"]),
    helper.make_node("Gather", ["shape", "zero"], ["n"], axis=0),
    helper.make_node("Concat", ["n", "rest"], ["wanted"], axis=0),
    helper.make_node("Reshape", ["x", "wanted"], ["r"]),
]
CONSTANTS = [as_tensor(np.array([0])), as_tensor(np.array([-1]))]
CONSTANTS[0].name, CONSTANTS[1].name = "zero", "rest"
CUBE = value("x", ["N", 8, 8])


def extents(network: Network) -> dict[str, str]:
    return {t.name: "x".join(map(str, t.shape)) for t in network.tensors}


@row("a Reshape computed from Shape, Gather and Concat")
@pytest.mark.parametrize("opset", [11, 12, 13, 14, 17, NEWEST])
def test_a_reshape_with_a_dynamic_batch(tmp_path: Path, copy: Definitions, opset: int) -> None:
    model = Model(tmp_path, copy, [*COPY_SHAPE, node(copy, ["r"])], [CUBE], initializer=CONSTANTS, opset=opset)
    assert extents(model.build()) == {"r": "Nx64", "y": "Nx64"}


@pytest.mark.parametrize("opset", [11, 12, 13, NEWEST])
def test_a_reshape_as_pytorch_writes_view(tmp_path: Path, copy: Definitions, opset: int) -> None:
    """A single extent is a scalar, to which Unsqueeze gives an axis back: an attribute of it before set 13."""
    first, axes, rest = (as_tensor(np.array(a)) for a in (0, [0], [-1]))
    first.name, axes.name, rest.name = "first", "axes", "rest"
    unsqueeze = (
        helper.make_node("Unsqueeze", ["n"], ["m"], axes=[0])
        if opset < 13
        else helper.make_node("Unsqueeze", ["n", "axes"], ["m"])
    )
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["n"], axis=0),
        unsqueeze,
        helper.make_node("Concat", ["m", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["r"]),
        node(copy, ["r"]),
    ]
    model = Model(tmp_path, copy, nodes, [CUBE], initializer=[first, axes, rest], opset=opset)
    assert extents(model.build()) == {"r": "Nx64", "y": "Nx64"}
    assert {o.domain: o.version for o in model.marked().opset_import}[""] == opset


def test_a_shape_that_only_the_file_states(tmp_path: Path, copy: Definitions) -> None:
    unknown = helper.make_node("Mystery", ["x"], ["m"], domain="somebody")
    for stated, found in ((["N", 5], "Nx5"), (["M", 5], None), ([None, 5], None), ([3, 5], "3x5")):
        model = Model(tmp_path, copy, [unknown, node(copy, ["m"])], [CUBE, value("z", ["N", 5])],
                      value_info=[value("m", stated)])  # fmt: skip
        if found is None:
            with refused("dimension 0 of 'm', an input of .*, is not known", "value_info"):
                model.build()
        else:
            assert extents(model.build())["m"] == found


def test_what_the_file_states_completes_what_the_inference_finds(tmp_path: Path, copy: Definitions) -> None:
    nodes = [helper.make_node("Tile", ["x", "times"], ["t"]), helper.make_node("Relu", ["t"], ["r"]), node(copy, ["r"])]
    inputs = [X, value("times", [2], TensorProto.INT64)]
    network = Model(tmp_path, copy, nodes, inputs, value_info=[value("t", ["N", 64])]).build()
    assert extents(network)["r"] == "Nx64"


def test_a_dimension_that_is_a_multiple(tmp_path: Path, copy: Definitions) -> None:
    wanted = as_tensor(np.array([-1, 32]))
    wanted.name = "wanted"
    nodes = [helper.make_node("Reshape", ["x", "wanted"], ["r"]), node(copy, ["r"])]
    network = Model(tmp_path, copy, nodes, initializer=[wanted]).build()
    # 2*N tells N, so that it stays what it is, and proves to be even.
    assert extents(network) == {"r": "N*2x32", "y": "N*2x32"}
    assert network.ranges == {"N": Range(min=1, opt=8, max=32)}


@pytest.mark.parametrize(
    ("nodes", "shape", "expected"),
    [
        ([helper.make_node("Flatten", ["x"], ["r"], axis=2)], [2, "H", "W"], "2*HxW"),
        ([helper.make_node("Concat", ["x", "x"], ["r"], axis=1)], [2, "H", "W"], "2xH+HxW"),
        ([helper.make_node("Conv", ["x", "w"], ["r"], pads=[1, 1, 1, 1])], [2, 1, "H", "W"], "2x1xHxW"),
        ([helper.make_node("Conv", ["x", "w"], ["r"], strides=[2, 2])], [2, 1, "H", "W"], "2x1x(H-3)//2+1x(W-3)//2+1"),
        ([helper.make_node("MaxPool", ["x"], ["r"], kernel_shape=[2, 2])], [2, 1, "H", "W"], "2x1xH-1xW-1"),
    ],
)
def test_dimensions_that_follow_from_others(
    tmp_path: Path, copy: Definitions, nodes: list[Any], shape: list[Any], expected: str
) -> None:
    weight = as_tensor(np.zeros((1, 1, 3, 3), np.float32))
    weight.name = "w"
    # The input itself goes through the plugin as well, so that H and W are dimensions of the bundle's inputs.
    made = [node(copy, outputs=["z"]), *nodes, node(copy, ["r"])]
    network = Model(tmp_path, copy, made, [value("x", shape)], initializer=[weight]).build(
        dims={"H": (8, 16, 32), "W": (8, 16, 32)}
    )
    assert extents(network)["r"] == expected


@row("a dimension of -1")
def test_minus_one_is_dynamic(tmp_path: Path, copy: Definitions) -> None:
    model = Model(tmp_path, copy, [node(copy)], [value("x", [-1, 64])])
    options = {"min_shape": {"x": (1, 64)}, "max_shape": {"x": (9, 64)}}
    assert extents(model.build(**options)) == {"x": "x_x_0x64", "y": "x_x_0x64"}
    assert not model.marked(**options).graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value")


@row("types and shapes that contradict the plugin")
@pytest.mark.parametrize("place", ["outputs", "value_info"])
@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (value("y", ["N", 60], TensorProto.INT64), "'y' is INT64 in the model, but the plugin gives int32"),
        (value("y", ["N", 64], TensorProto.INT32), "'y' is N x 64 in the model, but the plugin gives N x 60"),
        (value("y", ["N", 60, 1], TensorProto.INT32), "'y' is N x 60 x 1 in the model, but the plugin gives N x 60"),
        (value("y", ["N", 60], TensorProto.INT32), ""),
        (value("y", None, TensorProto.INT32), ""),
    ],
)
def test_contradictions(tmp_path: Path, narrow: Definitions, place: str, stated: Any, message: str) -> None:
    nodes = [node(narrow), *([helper.make_node("Abs", ["y"], ["z"])] if place == "value_info" else [])]
    model = Model(tmp_path, narrow, nodes, **{place: [stated]})
    if message:
        with refused(message, "TensorRT goes by the plugin"):
            model.build()
    else:
        assert extents(model.build())["y"] == "Nx60"


@row("types that are mixed behind a plugin")
@pytest.mark.parametrize("last", [True, False])
def test_mixed_types(tmp_path: Path, narrow: Definitions, copy: Definitions, last: bool) -> None:
    one = as_tensor(np.array([1]))
    one.name = "one"
    add = helper.make_node("Add", ["s", "one"], ["t"], name="plus")
    nodes = [node(narrow, outputs=["s"]), add]
    if not last:
        nodes += [helper.make_node("Cast", ["t"], ["f"], to=TensorProto.FLOAT), node(narrow, ["f"])]
    with refused(r"node 'plus' \(Add\) mixes types: 's' is INT32 and 'one' is INT64", "put a Cast in between"):
        Model(tmp_path, narrow, nodes, initializer=[one]).build()


# --- the rest ------------------------------------------------------------------------------------------------------


@row("branches and bodies")
def test_tensors_that_a_branch_reads_are_outputs(tmp_path: Path, copy: Definitions) -> None:
    branch = helper.make_graph([helper.make_node("Neg", ["a"], ["t"])], "b", [], [value("t", None)])
    nodes = [
        node(copy, outputs=["a"]),
        node(copy, ["a"], ["b"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]
    network = Model(tmp_path, copy, nodes, [X, value("c", [], TensorProto.BOOL)]).build()
    assert {t.name: t.role for t in network.tensors} == {"x": "input", "a": "output", "b": "output"}


@row("nodes out of order")
def test_nodes_out_of_order(tmp_path: Path, copy: Definitions) -> None:
    nodes = [node(copy, ["r"]), helper.make_node("Relu", ["x"], ["r"])]
    model = Model(tmp_path, copy, nodes, outputs=[helper.make_empty_tensor_value_info("y")])
    assert extents(model.build()) == {"r": "Nx64", "y": "Nx64"}
    circle = [node(copy, ["y"], ["r"]), helper.make_node("Relu", ["r"], ["y"])]
    with refused("in a circle"):
        Model(tmp_path, copy, circle).build()


@row("weights in other files")
def test_external_weights_of_more_than_2_gb(tmp_path: Path, copy: Definitions) -> None:
    weight = TensorProto(name="w", dims=[64, 2**24], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, text in (("location", "w.bin"), ("offset", "0"), ("length", str(2**32))):
        weight.external_data.add(key=key, value=text)
    with open(tmp_path / "w.bin", "wb") as file:
        file.truncate(2**32)  # of zeros, and takes no room on disk
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), node(copy, ["m"])]
    model = Model(tmp_path, copy, nodes, initializer=[weight])
    assert extents(model.build()) == {"m": "Nx16777216", "y": "Nx16777216"}
    assert model.marked().ByteSize() < 2**20


@pytest.mark.parametrize("opset", range(11, NEWEST + 1))
def test_operator_sets(tmp_path: Path, copy: Definitions, opset: int) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        node(copy, ["a"], ["b"]),
        helper.make_node("Add", ["b", "x"], ["y"]),
    ]
    assert extents(Model(tmp_path, copy, nodes, opset=opset).build()) == {"a": "Nx64", "b": "Nx64"}


class TestDims:
    def test_by_name(self, tmp_path: Path, copy: Definitions) -> None:
        model = Model(tmp_path, copy, [node(copy)])
        assert model.build(dims={"N": (1, 4, 9)}).ranges == {"N": Range(min=1, opt=4, max=9)}
        assert extents(model.build(dims={"N": (3, 3, 3)})) == {"x": "3x64", "y": "3x64"}

    def test_with_a_shape_that_says_the_same(self, tmp_path: Path, copy: Definitions) -> None:
        model = Model(tmp_path, copy, [node(copy)])
        assert extents(model.build(shape={"x": (3, 64)}, dims={"N": (3, 3, 3)}))["x"] == "3x64"
        with refused("--dim N and the shape given for input 'x' contradict"):
            model.build(shape={"x": (2, 64)}, dims={"N": (3, 3, 3)})

    def test_unknown(self, tmp_path: Path, copy: Definitions) -> None:
        with refused("has no open dimension 'M'", "its open dimensions: N"):
            Model(tmp_path, copy, [node(copy)]).build(dims={"M": (1, 1, 1)})

    def test_of_a_recipe(self) -> None:
        network = resolve("circ_pad", Catalog(), TargetOptions(dims={"N": (1, 2, 4)}))
        assert network.ranges == {"N": Range(min=1, opt=2, max=4)}
        with pytest.raises(UsageError, match="circ_pad has no dimension 'Q'"):
            resolve("circ_pad", Catalog(), TargetOptions(dims={"Q": (1, 2, 4)}))


def test_a_long_model_is_inferred_once(tmp_path: Path, copy: Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each node is given to ONNX' inference once, not once for every plugin node behind it."""
    given: list[int] = []
    infer = onnx.shape_inference.infer_shapes

    def counting(model: onnx.ModelProto, **options: Any) -> onnx.ModelProto:
        given.append(len(model.graph.node))
        return infer(model, **options)

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", counting)
    nodes = []
    for i in range(100):
        nodes += [helper.make_node("Relu", [f"t{i}"], [f"r{i}"]), node(copy, [f"r{i}"], [f"t{i + 1}"])]
    network = Model(tmp_path, copy, nodes, [value("t0", ["N", 64])]).build()
    assert len(network.calls) == 100
    assert sum(given) == 100


def test_every_row_of_the_table_is_tested() -> None:
    rows = [line.split("|")[1].strip() for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    assert set(rows[2:]) == set(ROWS), "docs/onnx.md and the tests name the same rows"
