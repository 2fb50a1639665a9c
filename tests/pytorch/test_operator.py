# SPDX-License-Identifier: Apache-2.0
"""Plugins as PyTorch operators: values, shapes, export, and the nodes that `build` takes."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from building import MODULES

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import aotfactory.torch as aot  # noqa: E402
from aotfactory.api.build import build_bundle  # noqa: E402
from aotfactory.compiler.bundle import read  # noqa: E402
from aotfactory.compiler.options import Options  # noqa: E402
from aotfactory.core.arch import parse_archs  # noqa: E402
from aotfactory.core.errors import ConfigError, UsageError  # noqa: E402
from aotfactory.core.network import Network  # noqa: E402
from aotfactory.plugins.catalog import Catalog  # noqa: E402
from aotfactory.targets.request import TargetOptions  # noqa: E402
from aotfactory.targets.resolve import resolve  # noqa: E402
from aotfactory.torch import gpu  # noqa: E402

MODULE = str(MODULES / "leaky_relu.py")


@pytest.fixture(scope="module")
def leaky_relu() -> aot.Operator:
    return aot.operator("my::leaky_relu", plugins=[MODULE])


class Model(torch.nn.Module):
    """The operator between others, twice, with different slopes."""

    def __init__(self, operator: aot.Operator) -> None:
        super().__init__()
        self.operator = operator
        self.linear = torch.nn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        return self.operator(self.linear(self.operator(x, alpha=0.5)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_values_on_a_cpu(leaky_relu: aot.Operator, dtype: Any) -> None:
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).to(dtype)
    got = leaky_relu(x, alpha=0.5)
    assert got.dtype == dtype
    torch.testing.assert_close(got, torch.nn.functional.leaky_relu(x, 0.5))
    torch.testing.assert_close(leaky_relu(x), torch.nn.functional.leaky_relu(x, 0.25))
    torch.testing.assert_close(torch.ops.my.leaky_relu(x, 0.5), got)


def test_the_operator_is_a_sound_one(leaky_relu: aot.Operator) -> None:
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(leaky_relu.overload, (torch.randn(3, 5),), {"alpha": 0.5}, test_utils=tests)


def test_shapes_come_from_register() -> None:
    pad = aot.operator("aotfactory::circ_pad")
    assert pad.schema == "(Tensor inp0, int[] pads=[1, 1, 1, 1]) -> Tensor"
    x = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    torch.testing.assert_close(pad(x, pads=[1, 2, 3, 4]), torch.nn.functional.pad(x, (1, 2, 3, 4), mode="circular"))
    exported = torch.export.export(
        Wrap(pad), (x,), dynamic_shapes=(({2: torch.export.Dim("H", min=4, max=99), 3: torch.export.Dim("W", min=5)},),)
    )
    (output,) = exported.graph.find_nodes(op="output")[0].args[0]
    height = exported.graph.find_nodes(op="placeholder")[0].meta["val"].shape[2]
    assert str(output.meta["val"].shape[2]) == f"{height} + 2"


class Wrap(torch.nn.Module):
    def __init__(self, operator: aot.Operator) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, *inputs: Any) -> Any:
        return self.operator(*inputs)


def test_an_in_place_plugin_changes_no_argument() -> None:
    add = aot.operator("aotfactory::inplace_add")
    x = torch.zeros(1, 3, 4, 4)
    result = add(x, delta=2)
    assert float(result.min()) == 2.0
    assert float(x.max()) == 0.0


def test_a_shape_that_depends_on_data() -> None:
    non_zero = aot.operator("aotfactory::non_zero")
    x = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    indices, _ = non_zero(x)
    assert indices.tolist()[:2] == [[0, 1], [1, 0]]


def test_compiled(leaky_relu: aot.Operator) -> None:
    model = Model(leaky_relu)
    x = torch.randn(4, 8)
    compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=True)
    torch.testing.assert_close(compiled(x), model(x))
    torch.testing.assert_close(compiled(torch.randn(5, 8)).shape, torch.Size([5, 8]))


@pytest.mark.parametrize("dynamo", [True, False])
def test_from_pytorch_to_a_bundle(leaky_relu: aot.Operator, tmp_path: Path, dynamo: bool) -> None:
    model, x, path = Model(leaky_relu).eval(), torch.randn(4, 8), tmp_path / "model.onnx"
    options: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"]}
    if dynamo:
        pytest.importorskip("onnxscript", reason="the exporter needs onnxscript")
        batch = torch.export.Dim("batch", min=1, max=64)
        options |= {"dynamic_shapes": {"x": {0: batch}}, "custom_translation_table": aot.translations()}
    else:
        options |= {"dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}, "opset_version": 17}
    torch.onnx.export(model, (x,), path, dynamo=dynamo, verbose=False, **options)
    nodes = [n for n in onnx.load(path).graph.node if n.op_type == "leaky_relu"]
    assert [n.domain for n in nodes] == ["my", "my"]
    network = resolve(str(path), Catalog([MODULE]), TargetOptions(dims={"batch": (1, 4, 64)}))
    assert [c.plugin for c in network.calls] == ["my::leaky_relu"] * 2
    assert [c.attributes["alpha"] for c in network.calls] == [0.5, 0.25]
    assert {str(t.shape[0]) for t in network.tensors} == {"batch"}
    built = build_bundle(
        str(path),
        request=TargetOptions(dims={"batch": (1, 4, 64)}),
        options=Options(archs=parse_archs("sm_90")),
        out=tmp_path,
        plugins=[MODULE],
        interpret=False,
    )
    assert built.path is not None


def test_attributes_in_exported_models(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the exporter needs onnxscript")
    sample, pad = aot.operator("aotfactory::grid_sample"), aot.operator("aotfactory::circ_pad")

    class Both(torch.nn.Module):
        def forward(self, x: Any, grid: Any) -> Any:
            return pad(sample(x, grid, padding="border", align_corners=True), pads=[1, 2, 3, 4])

    inputs = (torch.randn(1, 2, 8, 8), torch.rand(1, 4, 4, 2))
    for dynamo in (True, False):
        path = tmp_path / f"{dynamo}.onnx"
        table = {"custom_translation_table": aot.translations()} if dynamo else {"opset_version": 17}
        torch.onnx.export(Both(), inputs, path, dynamo=dynamo, verbose=False, **table)
        calls = resolve(str(path), Catalog(), TargetOptions()).calls
        assert [c.plugin for c in calls] == ["aotfactory::grid_sample", "aotfactory::circ_pad"]
        assert calls[0].attributes == {"padding": "border", "align_corners": True}
        np.testing.assert_array_equal(calls[1].attributes["pads"], [1, 2, 3, 4])


class TestOnAGpu:
    """Without a GPU, all but the driver's own calls."""

    def test_launch(self, leaky_relu: aot.Operator, tmp_path: Path) -> None:
        built = build_bundle(
            "leaky_relu",
            request=TargetOptions(dims={"N": (1, 2, 9)}),
            options=Options(archs=parse_archs("sm_90")),
            out=tmp_path,
            plugins=[MODULE],
            interpret=False,
        )
        assert built.path is not None
        made = read(built.path)
        x = torch.randn(7, 64)
        call, _ = leaky_relu._call([x], {"alpha": 0.25})
        chosen = gpu.choose(made.network, made.variants, leaky_relu.id, {"alpha": 0.25}, call.combination, [(7, 64)],
                            ["sm_90"])  # fmt: skip
        how = gpu.launch_of(made.network, chosen, [(7, 64)])
        assert (how.grid, how.block, how.extra_args) == ((math.ceil(7 * 64 / 128), 1, 1), (128, 1, 1), (7 * 64,))
        for attributes, shape, arch in (({"alpha": 0.5}, (7, 64), "sm_90"), ({"alpha": 0.25}, (10, 64), "sm_90"),
                                        ({"alpha": 0.25}, (7, 64), "sm_80")):  # fmt: skip
            with pytest.raises(UsageError, match="the bundle has no kernel of my::leaky_relu"):
                gpu.choose(made.network, made.variants, leaky_relu.id, attributes, call.combination, [shape], [arch])

    def test_the_network_of_one_call(self, leaky_relu: aot.Operator) -> None:
        network = gpu.network_of(leaky_relu.plugin, [torch.zeros(2, 3, dtype=torch.float16)], {"alpha": 0.5})
        assert [(t.name, t.dtype, str(t.shape[1])) for t in network.tensors] == [("x", "fp16", "3"), ("y", "fp16", "3")]

    def test_one_tactic_is_compiled_when_it_is_first_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And of those that a plan can launch: the first one is refused here."""
        (arch,) = parse_archs("sm_90")
        monkeypatch.setattr(gpu, "native_arch", lambda: arch)
        softmax = aot.operator("aotfactory::softmax")
        x = torch.zeros(4, 96)
        call, _ = softmax._call([x], {})
        offered = next(t for c, t in call.combinations() if c == call.combination)
        assert len(offered) > 1
        _, (variant,) = gpu._kernels(softmax.plugin, call, [x], {}, None)
        assert variant.tactic == offered[0]
        whole = gpu.compile_network

        def refusing(network: Network, options: Options, *rest: Any, **named: Any) -> Any:
            if options.tactic == offered[0]:
                raise ConfigError("too much shared memory")
            return whole(network, options, *rest, **named)

        monkeypatch.setattr(gpu, "compile_network", refusing)
        monkeypatch.setattr(gpu, "_compiled", {})
        _, (variant,) = gpu._kernels(softmax.plugin, call, [x], {}, None)
        assert variant.tactic == offered[1]

    @pytest.mark.gpu
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_values(self, leaky_relu: aot.Operator, dtype: Any) -> None:
        if not torch.cuda.is_available():
            pytest.skip("this PyTorch has no CUDA")
        x = torch.randn(33, 65).to(dtype)
        torch.testing.assert_close(leaky_relu(x.cuda(), alpha=0.5).cpu(), leaky_relu(x, alpha=0.5))


class TestMistakes:
    def test_no_such_plugin(self) -> None:
        with pytest.raises(UsageError, match="no plugin 'my::nothing' is registered"):
            aot.operator("my::nothing", plugins=[MODULE])

    def test_a_type_that_no_plugin_takes(self, leaky_relu: aot.Operator) -> None:
        with pytest.raises(UsageError, match=r"plugins take no tensors of torch\.float64"):
            leaky_relu(torch.zeros(2, dtype=torch.float64))

    def test_no_reference(self) -> None:
        made = aot.operator("my::leaky_relu")
        without = aot.Operator.__new__(aot.Operator)
        without.__dict__.update(made.__dict__, recipe=None)
        with pytest.raises(UsageError, match="my::leaky_relu has no recipe"):
            without._on_cpu(torch.zeros(2), 0.5)

    def test_without_pytorch(self) -> None:
        code = "import sys; sys.modules['torch'] = None; import aotfactory.torch"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "aotfactory.torch needs PyTorch" in done.stderr

    def test_aotfactory_itself_needs_no_pytorch(self) -> None:
        code = "import aotfactory.cli.main, aotfactory.api.making, sys; assert 'torch' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], check=True)
