# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP007, UP035  (annotations as TensorRT's documentation writes them)
"""Definitions that take down what they are called with, for test_protocol.py. Their PTX is none."""

from typing import Any, Callable, Dict, List, Tuple, Union

import numpy as np
import numpy.typing as npt

from aotfactory.plugins import tensorrt_api

tensorrt_api.load()
import tensorrt as trt  # noqa: E402
import tensorrt.plugin as trtp  # noqa: E402

Kernel = Tuple[Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs]

SEEN: List[Dict[str, Any]] = []


def _seen(tensor: trtp.TensorDesc) -> Dict[str, Any]:
    shape = tensor.shape
    profile = {end: tuple(getattr(shape, end)) for end in ("min", "opt", "max")} if shape.is_dynamic else {}
    return {"dtype": tensor.dtype.name, "format": tensor.format.name, "shape": tuple(shape), **profile}


def _kernel(*extra: Any) -> Any:
    return "entry", "text", trtp.KernelLaunchParams(), trtp.SymIntExprs.from_tuple(list(extra))


@trtp.register("recorded::attributes")
def attributes_desc(
    a: trtp.TensorDesc, b: trtp.TensorDesc, gain: float, count: int, mode: str, on: bool, pads: npt.NDArray[np.int32]
) -> trtp.TensorDesc:
    return a.like()


@trtp.autotune("recorded::attributes")
def attributes_autotune(
    a: trtp.TensorDesc, b: trtp.TensorDesc, mode: str, outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    SEEN.append({"autotune": mode, "tensors": [_seen(a), _seen(b), _seen(outputs[0])]})
    mixed = trtp.AutoTuneCombination("FP32|FP16, FP16|FP32, FP32", "LINEAR", [7, 2])
    channels_last = trtp.AutoTuneCombination()
    channels_last.pos([0], "FP16", "HWC")
    channels_last.pos([1, 2], "FP32", "LINEAR")
    return [mixed, channels_last]


@trtp.aot_impl("recorded::attributes")
def attributes_aot(
    a: trtp.TensorDesc,
    b: trtp.TensorDesc,
    gain: float,
    count: int,
    mode: str,
    on: bool,
    pads: npt.NDArray[np.int32],
    outputs: Tuple[trtp.TensorDesc],
    tactic: int,
) -> Kernel:
    tensors = [_seen(a), _seen(b), _seen(outputs[0])]
    SEEN.append({"attributes": (gain, count, mode, on, pads), "tensors": tensors, "tactic": tactic})
    return _kernel()


@trtp.register("recorded::shapes")
def shapes_desc(x: trtp.TensorDesc) -> Tuple[trtp.TensorDesc, trtp.TensorDesc, trtp.TensorDesc, trtp.TensorDesc]:
    n, c = x.shape_expr
    number = trtp.size_tensor(n * c // 2, n * c)
    number.dtype = trt.int64
    half = trtp.from_shape_expr((trtp.cdiv(n, 2), c + 1, 3), dtype=trt.float16)
    return half, trtp.from_shape_expr((number.expr(), 2), dtype=trt.int32), number, x.aliased()


@trtp.aot_impl("recorded::shapes")
def shapes_aot(
    x: trtp.TensorDesc,
    outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc, trtp.TensorDesc, trtp.TensorDesc],
    tactic: int,
) -> Kernel:
    n, c = x.shape_expr
    launch = trtp.KernelLaunchParams()
    launch.grid_x = trtp.max(trtp.cdiv(n * c, 256), 1)
    launch.grid_y = trtp.min(n, 7)
    launch.grid_z = (n < 5) + (c == 4)
    launch.block_x = 128
    launch.shared_mem = c * 4 - 16
    extra = trtp.SymIntExprs(3)
    extra[0] = trtp.SymInt32(n - 1)
    extra[1] = trtp.SymInt32(5)
    extra[2] = n // 3
    return b"entry", b"text", launch, extra


RETURNS: Dict[str, Callable[[trtp.TensorDesc, Any], Any]] = {
    "int extra": lambda x, outputs: ("entry", "text", trtp.KernelLaunchParams(), _sums(x)),
    "list of extra": lambda x, outputs: ("entry", "text", trtp.KernelLaunchParams(), [x.shape_expr[0]]),
    "no launch": lambda x, outputs: ("entry", "text", {"grid_x": 1}, trtp.SymIntExprs(0)),
    "no name": lambda x, outputs: (None, "text", trtp.KernelLaunchParams(), trtp.SymIntExprs(0)),
    "no PTX": lambda x, outputs: ("entry", None, trtp.KernelLaunchParams(), trtp.SymIntExprs(0)),
    "cubin": lambda x, outputs: ("entry", b"\x7fELF\xff", trtp.KernelLaunchParams(), trtp.SymIntExprs(0)),
    "three": lambda x, outputs: ("entry", "text", trtp.KernelLaunchParams()),
    "NumPy grid": lambda x, outputs: ("entry", "text", trtp.KernelLaunchParams(np.int64(4)), trtp.SymIntExprs(0)),
    "float grid": lambda x, outputs: ("entry", "text", trtp.KernelLaunchParams(4.0), trtp.SymIntExprs(0)),
    "reversed product": lambda x, outputs: _kernel(2 * x.shape_expr[0]),
    "modulo": lambda x, outputs: _kernel(x.shape_expr[0] % 2),
    "at least": lambda x, outputs: _kernel(x.shape_expr[0] >= 2),
    "as an index": lambda x, outputs: _kernel(*range(x.shape_expr[0])),
    "size as extra": lambda x, outputs: _kernel(outputs[0].shape_expr[0]),
    "size as grid": lambda x, outputs: (
        "entry",
        "text",
        trtp.KernelLaunchParams(outputs[0].shape_expr[0]),
        trtp.SymIntExprs(0),
    ),
    "size in arithmetic": lambda x, outputs: _kernel(outputs[0].shape_expr[0] + 1),
    "good": lambda x, outputs: _kernel(x.shape_expr[0]),
}


def _sums(x: trtp.TensorDesc) -> Any:
    extra = trtp.SymIntExprs(1)
    extra[0] = trtp.SymInt32(x.shape_expr[0]) + trtp.SymInt32(1)
    return extra


@trtp.register("recorded::returns")
def returns_desc(x: trtp.TensorDesc, which: str) -> Tuple[trtp.TensorDesc, trtp.TensorDesc]:
    number = trtp.size_tensor(x.shape_expr[0], x.shape_expr[0])
    number.dtype = trt.int32
    return trtp.from_shape_expr((number.expr(),), dtype=x.dtype), number


@trtp.aot_impl("recorded::returns")
def returns_aot(
    x: trtp.TensorDesc, which: str, outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc], tactic: int
) -> Kernel:
    return RETURNS[which](x, outputs)


AUTOTUNE: Dict[str, Callable[[], Any]] = {
    "none": list,
    "tactic 0": lambda: [trtp.AutoTuneCombination("FP32, FP32", "LINEAR", [1, 0])],
    "negative tactic": lambda: [trtp.AutoTuneCombination("FP32, FP32", "LINEAR", [-3])],
    "twice": lambda: [
        trtp.AutoTuneCombination("FP32, FP32", "LINEAR", [4, 2]),
        trtp.AutoTuneCombination("FP32, FP32", "LINEAR", [2, 9]),
    ],
    "formats": lambda: [trtp.AutoTuneCombination("FP16, FP16", "HWC8|CHW16|LINEAR")],
    "types": lambda: [trtp.AutoTuneCombination("FP32|FP16|BF16, FP32|FP16|BF16")],
    "every type": lambda: [trtp.AutoTuneCombination("|".join(f"{t}" for t in TYPES) + ", FP32")],
    "INT4": lambda: [trtp.AutoTuneCombination("INT4, FP32")],
    "unknown type": lambda: [trtp.AutoTuneCombination("FP33, FP32")],
    "too few": lambda: [trtp.AutoTuneCombination("FP32")],
}
TYPES = ("FP32", "FP16", "BF16", "FP8", "INT8", "UINT8", "INT32", "INT64", "BOOL")


@trtp.register("recorded::autotuned")
def autotuned_desc(x: trtp.TensorDesc, which: str) -> trtp.TensorDesc:
    return x.like()


@trtp.autotune("recorded::autotuned")
def autotuned_autotune(
    x: trtp.TensorDesc, which: str, outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return AUTOTUNE[which]()


@trtp.aot_impl("recorded::autotuned")
def autotuned_aot(x: trtp.TensorDesc, which: str, outputs: Tuple[trtp.TensorDesc], tactic: int) -> Kernel:
    SEEN.append({"tensors": [_seen(x), _seen(outputs[0])], "tactic": tactic})
    return _kernel()
