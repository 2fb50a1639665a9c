# SPDX-License-Identifier: Apache-2.0
"""What a target and its options mean: shapes, profiles, data types and attributes become a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_definitions import SOURCE, Definitions, changed

from aotfactory.core.errors import AotError, DefinitionError, UsageError
from aotfactory.core.network import Network, Range
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions, parse_shape
from aotfactory.targets.resolve import resolve

ONE = """
from aotfactory.recipe import Input, Recipe

RECIPE = Recipe(
    name="RECIPE_NAME", plugin="NS::copy", summary="", dtypes=("fp32", "fp16"), attributes={"scale": 3},
    inputs=(Input(name="x", shape=(4, 8, 8), dims=("N", "H", "W")),), reference=lambda x, scale: x,
)
"""

# Rows of x are looked up by index: N is in both, and the index has a type of its own.
TWO = changed(
    "inp0: trtp.TensorDesc, scale", "inp0: trtp.TensorDesc, inp1: trtp.TensorDesc, scale",
    "inp0: trtp.TensorDesc, outputs", "inp0: trtp.TensorDesc, inp1: trtp.TensorDesc, outputs",
    '"FP32, FP32"', '"FP32, INT32*INT64, FP32"',
) + """
from aotfactory.recipe import Input, Recipe

RECIPE = Recipe(
    name="RECIPE_NAME", plugin="NS::copy", summary="", dtypes=("fp32", "fp16"), attributes={"scale": 3},
    inputs=(
        Input(name="x", shape=(4, 8), dims=("N", "C")),
        Input(name="index", shape=(4,), dims=("N",), dtypes=("int32", "int64")),
    ),
    reference=lambda x, index, scale: x,
)
"""  # fmt: skip

Resolve = Callable[..., Network]


def resolver(directory: Path, source: str, *, by_id: bool = False) -> Resolve:
    definitions = Definitions(directory, source)
    name = definitions.path.stem
    definitions.path.write_text(definitions.path.read_text("utf-8").replace("RECIPE_NAME", name), "utf-8")
    catalog = Catalog([str(definitions.path)])
    return lambda **options: resolve(definitions.id if by_id else name, catalog, TargetOptions(**options))


@pytest.fixture
def one(tmp_path: Path) -> Resolve:
    return resolver(tmp_path, SOURCE + ONE)


@pytest.fixture
def two(tmp_path: Path) -> Resolve:
    return resolver(tmp_path, TWO)


@pytest.fixture
def bare(tmp_path: Path) -> Resolve:
    """A plugin without a recipe, by its id."""
    return resolver(tmp_path, SOURCE, by_id=True)


def shapes(network: Network) -> dict[str, str]:
    return {t.name: "x".join(map(str, t.shape)) for t in network.tensors}


CROPS = changed(
    "    return inp0.like()", "    out = inp0.like()\n    out.shape_expr[0] = inp0.shape_expr[0] - 4\n    return out"
)


class TestImpossibleShapes:
    """A bundle of them could be run at no shape, or not at all of its profile."""

    @pytest.fixture
    def crops(self, tmp_path: Path) -> Resolve:
        """A plugin whose output has 4 rows less than its input."""
        return resolver(tmp_path, CROPS, by_id=True)

    def test_a_negative_dimension(self, crops: Resolve) -> None:
        with pytest.raises(
            DefinitionError, match=r"copy: dimension 0 of 'y' is -1, not within 0 and 2147483647"
        ) as found:
            crops(shape={None: (3, 8)}, attributes={"scale": 1})
        assert "definitions_" in str(found.value.where)
        assert "narrow the profile" in str(found.value.hint)

    def test_somewhere_in_the_profile(self, crops: Resolve) -> None:
        profile = {"max_shape": {None: (64, 8)}, "attributes": {"scale": 1}}
        with pytest.raises(DefinitionError, match="dimension 0 of 'y' is -3 at inp0_0=1"):
            crops(min_shape={None: (1, 8)}, **profile)
        assert shapes(crops(min_shape={None: (4, 8)}, **profile))["y"] == "inp0_0-4x8"

    def test_more_bytes_than_a_tensor_may_have(self, one: Resolve) -> None:
        """Of fp32: 2^40 bytes are 2^38 elements."""
        assert one(shape={None: (2**18, 2**10, 2**10)})
        with pytest.raises(
            UsageError, match=r"'x' has 1099515822080 bytes, more than 1099511627776 .limit tensor_bytes"
        ):
            one(shape={None: (2**18 + 1, 2**10, 2**10)})

    def test_of_a_type_of_the_outputs_own(self, tmp_path: Path) -> None:
        """The input's bytes are within the limit, the output's are not."""
        wider = changed("    return inp0.like()", "    out = inp0.like()\n    out.dtype = trt.int64\n    return out")
        resolve_wider = resolver(tmp_path, wider, by_id=True)
        assert resolve_wider(shape={None: (2**17, 2**20)}, attributes={"scale": 1})
        with pytest.raises(DefinitionError, match="'y' has 1099520016384 bytes"):
            resolve_wider(shape={None: (2**17 + 1, 2**20)}, attributes={"scale": 1})


class TestShapes:
    def test_the_recipes_own(self, one: Resolve) -> None:
        network = one()
        assert shapes(network) == {"x": "4x8x8", "y": "4x8x8"}
        assert network.ranges == {}

    @pytest.mark.parametrize("name", [None, "x"])
    def test_static(self, one: Resolve, name: str | None) -> None:
        assert shapes(one(shape={name: (1, 2, 3)})) == {"x": "1x2x3", "y": "1x2x3"}

    def test_another_rank_than_the_recipes(self, one: Resolve) -> None:
        network = one(min_shape={None: (1, 2)}, max_shape={None: (5, 2)})
        assert shapes(network)["x"] == "x_0x2"

    def test_dynamic(self, one: Resolve) -> None:
        network = one(min_shape={"x": (1, 8, 8)}, opt_shape={None: (2, 8, 16)}, max_shape={None: (8, 8, 32)})
        assert shapes(network) == {"x": "Nx8xW", "y": "Nx8xW"}
        assert network.ranges == {"N": Range(min=1, opt=2, max=8), "W": Range(min=8, opt=16, max=32)}

    def test_shape_is_the_opt_of_a_dynamic_one(self, one: Resolve) -> None:
        network = one(shape={"x": (2, 8, 8)}, min_shape={None: (1, 8, 8)}, max_shape={None: (8, 8, 8)})
        assert network.ranges == {"N": Range(min=1, opt=2, max=8)}

    def test_opt_is_max_where_it_is_not_given(self, one: Resolve) -> None:
        assert one(min_shape={None: (1, 8, 8)}, max_shape={None: (8, 8, 8)}).ranges["N"].opt == 8

    def test_a_dimension_of_zero(self, one: Resolve) -> None:
        assert shapes(one(shape={None: (0, 8, 8)}))["y"] == "0x8x8"

    def test_shared_dimensions_go_to_the_inputs_without_a_shape(self, two: Resolve) -> None:
        network = two(min_shape={"x": (1, 8)}, max_shape={"x": (64, 8)})
        assert shapes(network) == {"x": "Nx8", "index": "N", "y": "Nx8"}
        assert shapes(two(shape={"index": (7,)})) == {"x": "7x8", "index": "7", "y": "7x8"}

    def test_shared_dimensions_that_disagree(self, two: Resolve) -> None:
        with pytest.raises(
            UsageError, match=r"index\[0\] and x\[0\] are both dimension N, but one is 6 and the other 5"
        ):
            two(shape={"x": (5, 8), "index": (6,)})

    def test_an_input_may_be_called_y(self, tmp_path: Path) -> None:
        network = resolver(tmp_path, SOURCE + ONE.replace('name="x"', 'name="y"'))()
        assert shapes(network) == {"y": "4x8x8", "y_": "4x8x8"}

    def test_dimensions_of_a_plugin_without_a_recipe(self, bare: Resolve) -> None:
        network = bare(min_shape={None: (1, 8)}, max_shape={None: (4, 8)}, attributes={"scale": "1"})
        assert shapes(network) == {"inp0": "inp0_0x8", "y": "inp0_0x8"}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"min_shape": {None: (1, 8, 8)}}, "needs --max-shape too"),
            ({"max_shape": {None: (1, 8, 8)}}, "needs --min-shape too"),
            ({"opt_shape": {None: (1, 8, 8)}}, "--opt-shape of x without --min-shape and --max-shape"),
            (
                {"min_shape": {None: (4, 8, 8)}, "max_shape": {None: (1, 8, 8)}},
                "dimension 0 of x has min 4, opt 1, max 1",
            ),
            (
                {"min_shape": {None: (1, 8, 8)}, "opt_shape": {None: (9, 8, 8)}, "max_shape": {None: (4, 8, 8)}},
                "dimension 0 of x has min 1, opt 9, max 4",
            ),
            (
                {"min_shape": {None: (1, 8)}, "max_shape": {None: (1, 8, 8)}},
                "x have different ranks: 1x8, 1x8x8, 1x8x8",
            ),
            (
                {
                    "shape": {None: (1,)},
                    "opt_shape": {None: (1,)},
                    "min_shape": {None: (1,)},
                    "max_shape": {None: (1,)},
                },
                "--shape and --opt-shape of x mean the same",
            ),
            ({"shape": {"z": (1,)}}, "--shape: .* has no input 'z'"),
            ({"max_shape": {"": (1,)}}, "--max-shape: .* has no input ''"),
            ({"shape": {None: (1,), "x": (2,)}}, "--shape is given twice for x"),
        ],
    )
    def test_what_does_not_fit(self, one: Resolve, options: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            one(**options)

    def test_two_inputs_and_no_name(self, two: Resolve) -> None:
        with pytest.raises(UsageError, match=r"--shape must say which input: .* has x, index"):
            two(shape={None: (1, 8)})

    def test_a_plugin_without_a_recipe_needs_a_shape(self, bare: Resolve) -> None:
        with pytest.raises(UsageError, match="needs a shape for inp0"):
            bare(attributes={"scale": "1"})

    def test_all_shapes_that_are_missing_are_told_at_once(self, tmp_path: Path) -> None:
        bare = resolver(tmp_path, TWO[: TWO.index("from aotfactory.recipe")], by_id=True)
        said = r"needs a shape for inp0, inp1\n  hint: --shape inp0=1x3x32x32 --shape inp1=1x3x32x32"
        with pytest.raises(UsageError, match=said):
            bare(attributes={"scale": "1"})


class TestTypes:
    def test_of_the_network(self, two: Resolve) -> None:
        assert {t.name: t.dtype for t in two().tensors} == {"x": "fp32", "index": "int32", "y": "fp32"}
        types = {t.name: t.dtype for t in two(dtype={None: "fp16", "index": "int64"}).tensors}
        assert types == {"x": "fp16", "index": "int64", "y": "fp16"}

    @pytest.mark.parametrize(
        ("dtype", "message", "hint"),
        [
            ({None: "fp8"}, "cannot be fp8", "fp32, fp16"),
            ({None: "float"}, "cannot be float", "fp32, fp16"),
            ({"x": "int8"}, "x of .* cannot be int8", "fp32, fp16"),
            ({"index": "fp32"}, "index of .* cannot be fp32", "int32, int64"),
            ({"z": "fp32"}, "has no input 'z'", "x, index"),
        ],
    )
    def test_that_do_not_fit(self, two: Resolve, dtype: dict[str | None, str], message: str, hint: str) -> None:
        with pytest.raises(UsageError, match=message) as caught:
            two(dtype=dtype)
        assert hint in str(caught.value.hint)

    def test_of_a_plugin_without_a_recipe(self, bare: Resolve) -> None:
        given: dict[str, Any] = {"shape": {None: (4,)}, "attributes": {"scale": "1"}}
        assert {t.dtype for t in bare(**given, dtype={None: "bf16"}).tensors} == {"bf16"}
        with pytest.raises(UsageError, match="unknown data type 'fp31'"):
            bare(**given, dtype={None: "fp31"})


class TestTargets:
    def test_attributes_replace_the_recipes(self, one: Resolve) -> None:
        assert one().calls[0].attributes == {"scale": 3}
        assert one(attributes={"scale": "5"}).calls[0].attributes == {"scale": 5}

    def test_a_shipped_plugin_by_its_id(self) -> None:
        network = resolve("aotfactory::circ_pad", Catalog(), TargetOptions())
        assert (network.name, network.target) == ("circ_pad", "aotfactory::circ_pad")

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("no_such_recipe", "no recipe 'no_such_recipe'"),
            ("", "no recipe ''"),
            ("no::such_plugin", "no plugin 'no::such_plugin' is registered"),
            ("nowhere.onnx", "cannot read nowhere.onnx: No such file"),
        ],
    )
    def test_what_is_not_there(self, target: str, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            resolve(target, Catalog(), TargetOptions())


@pytest.mark.parametrize("text", ["1", "1x3x32x32", "0x5", "2147483647"])
def test_shapes_are_read(text: str) -> None:
    assert "x".join(map(str, parse_shape(text))) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1x",
        "x1",
        "1x-1",
        "1X3",
        "1 x 3",
        "Nx3",
        "1x3.0",
        "٣",
        "2147483648",
        "9" * 5000,
        "x".join("1" * 9),
    ],
)
def test_what_is_not_a_shape(text: str) -> None:
    with pytest.raises(AotError) as caught:
        parse_shape(text)
    assert caught.value.exit_code == 2
    assert caught.value.hint
