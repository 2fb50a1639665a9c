# SPDX-License-Identifier: Apache-2.0
"""What `bench_kernels.py` measures: the sizes of each recipe, and the same work in PyTorch.

The functions take torch tensors by the names of the recipe's inputs, and its attributes; they give the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SHAPES = ("small", "middle", "large")
PROFILES = ("static", "dynamic")
Torch = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A recipe's sizes, by dimension, and its work in torch.

    Attributes:
        recipe: Its name; several cases may have one recipe, with other sizes or attributes.
        sizes: For some of SHAPES. What fits in L2 is small; large is far beyond it.
        least: Extent of all dimensions at the smallest shape of a dynamic profile.
        torch: The work, on the outputs of which torch, torch.compile and the naive kernel are compared.
        given: Inputs whose data matters for the time; the others are the launcher's own random numbers.
        compiled: Whether torch.compile takes it.
        floor: What else than inputs and outputs once each has to be moved, said in the table.
    """

    recipe: str
    sizes: Mapping[str, Mapping[str, int]]
    torch: Torch
    dtypes: tuple[str, ...] = ("fp32", "fp16", "bf16")
    least: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    compiled: bool = True
    floor: str = "inputs and outputs once"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one row asks of everyone: a case with its input shapes, data type and attributes (arrays as lists)."""

    bench: Bench
    shapes: Mapping[str, tuple[int, ...]]
    dtype: str
    attributes: Mapping[str, Any]


def _rows(name: str = "D", other: tuple[str, ...] = ("B", "S")) -> dict[str, dict[str, int]]:
    """Rows of 1024, 4096 and 8192 elements: 2^16, 2^22 and 2^26 elements."""
    first, second = other
    return {
        "small": {first: 1, second: 64, name: 1024},
        "middle": {first: 1, second: 1024, name: 4096},
        "large": {first: 8, second: 1024, name: 8192},
    }


def rms_norm(x: Any, weight: Any, eps: float) -> Any:
    from torch.nn import functional

    return functional.rms_norm(x, (x.shape[-1],), weight, eps)


def rms_norm_add(x: Any, residual: Any, weight: Any, eps: float) -> Any:
    residual += x
    return rms_norm(residual, weight, eps), residual


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    from torch.nn import functional

    return functional.layer_norm(x, (x.shape[-1],), weight, bias, eps)


def group_norm_silu(x: Any, weight: Any, bias: Any, groups: int, eps: float) -> Any:
    from torch.nn import functional

    return functional.silu(functional.group_norm(x, groups, weight, bias, eps))


def softmax(x: Any) -> Any:
    return x.softmax(-1)


def masked_softmax(x: Any, mask: Any) -> Any:
    return (x + mask).softmax(-1)


def silu_and_mul(x: Any) -> Any:
    from torch.nn import functional

    gate, value = x.chunk(2, -1)
    return functional.silu(gate) * value


def gelu_tanh_bias(x: Any, bias: Any) -> Any:
    from torch.nn import functional

    return functional.gelu(x + bias, approximate="tanh")


def rope(x: Any, cos: Any, sin: Any) -> Any:
    import torch

    first, second = x.chunk(2, -1)
    cos, sin = cos[None, :, None, :], sin[None, :, None, :]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def per_token_quant_int8(x: Any) -> Any:
    import torch

    largest = x.float().abs().amax(-1, keepdim=True).clamp_min(2**-100)
    return (x.float() * (127 / largest)).round().to(torch.int8), largest / 127


def per_token_quant_fp8(x: Any) -> Any:
    import torch

    largest = x.float().abs().amax(-1, keepdim=True).clamp_min(2**-100)
    return (x.float() * (448 / largest)).to(torch.float8_e4m3fn), largest / 448


def circ_pad(x: Any, pads: Any) -> Any:
    from torch.nn import functional

    return functional.pad(x, pads, mode="circular")


def elementwise_add(x: Any, block_size: int) -> Any:
    return x + 1


def inplace_add(x: Any, delta: int) -> Any:
    x += delta
    return x


def non_zero(x: Any) -> Any:
    return x.nonzero()


def grid_sample(x: Any, grid: Any, padding: str, align_corners: bool) -> Any:
    from torch.nn import functional

    return functional.grid_sample(x, grid, mode="bilinear", padding_mode=padding, align_corners=align_corners)


def _images(n: int, c: int, size: int) -> dict[str, int]:
    return {"N": n, "C": c, "H": size, "W": size}


def _sampled(n: int, c: int, size: int) -> dict[str, int]:
    return {**_images(n, c, size), "Hout": size, "Wout": size, "xy": 2}


FLAT = {"small": _images(1, 3, 128), "middle": _images(8, 32, 128), "large": _images(8, 128, 256)}
PADDED_128 = {"large": _images(16, 256, 128)}
PADDED = {"small": _images(1, 3, 32), "middle": _images(8, 64, 64), "large": _images(8, 64, 512)}


def _circ_pad(sizes: Mapping[str, Mapping[str, int]], pads: int | tuple[int, ...]) -> Bench:
    """In dynamic profiles every dimension, from 8 on: what the tactics for narrow types need."""
    attributes = {"pads": np.array(pads if isinstance(pads, tuple) else (pads,) * 4, np.int32)}
    types = ("fp32", "fp16", "bf16", "int8")
    return Bench(recipe="circ_pad", sizes=sizes, torch=circ_pad, dtypes=types, least=8, attributes=attributes)


BENCHES: dict[str, Bench] = {
    "rms_norm": Bench(recipe="rms_norm", sizes=_rows(), torch=rms_norm),
    "rms_norm_add": Bench(recipe="rms_norm_add", sizes=_rows(), torch=rms_norm_add),
    "layer_norm": Bench(recipe="layer_norm", sizes=_rows(), torch=layer_norm),
    "group_norm_silu": Bench(
        recipe="group_norm_silu",
        sizes={"small": _images(2, 1280, 8), "middle": _images(2, 640, 32), "large": _images(16, 320, 64)},
        torch=group_norm_silu,
    ),
    "group_norm_silu-128": Bench(
        recipe="group_norm_silu", sizes={"large": _images(2, 512, 128)}, torch=group_norm_silu
    ),
    "group_norm_silu-31": Bench(recipe="group_norm_silu", sizes={"large": _images(16, 640, 31)}, torch=group_norm_silu),
    "group_norm_silu-huge": Bench(
        recipe="group_norm_silu", sizes={"large": {"N": 1, "C": 128, "H": 512, "W": 512}}, torch=group_norm_silu
    ),
    "softmax": Bench(recipe="softmax", sizes=_rows(), torch=softmax),
    "masked_softmax": Bench(
        recipe="masked_softmax",
        sizes={
            "small": {"B": 1, "H": 8, "Q": 64, "K": 128},
            "middle": {"B": 1, "H": 16, "Q": 512, "K": 512},
            "large": {"B": 2, "H": 32, "Q": 1024, "K": 1024},
        },
        torch=masked_softmax,
    ),
    "silu_and_mul": Bench(
        recipe="silu_and_mul",
        sizes={
            "small": {"B": 1, "S": 16, "D2": 4096},
            "middle": {"B": 1, "S": 512, "D2": 16384},
            "large": {"B": 4, "S": 1024, "D2": 22016},
        },
        torch=silu_and_mul,
    ),
    "gelu_tanh_bias": Bench(recipe="gelu_tanh_bias", sizes=_rows(), torch=gelu_tanh_bias),
    "rope": Bench(
        recipe="rope",
        sizes={
            "small": {"B": 1, "S": 16, "H": 32, "D": 128, "E": 64},
            "middle": {"B": 1, "S": 1024, "H": 32, "D": 128, "E": 64},
            "large": {"B": 4, "S": 4096, "H": 32, "D": 128, "E": 64},
        },
        torch=rope,
    ),
    "per_token_quant_int8": Bench(recipe="per_token_quant_int8", sizes=_rows(), torch=per_token_quant_int8),
    "per_token_quant_fp8": Bench(recipe="per_token_quant_fp8", sizes=_rows(), torch=per_token_quant_fp8),
    "circ_pad": _circ_pad(PADDED, 1),
    "circ_pad-128": _circ_pad(PADDED_128, 1),
    "circ_pad-uneven": _circ_pad({"large": PADDED["large"]}, (3, 2, 5, 1)),
    "circ_pad-128-uneven": _circ_pad(PADDED_128, (3, 2, 5, 1)),
    "grid_sample": Bench(
        recipe="grid_sample",
        sizes={"small": _sampled(1, 16, 32), "middle": _sampled(2, 64, 128), "large": _sampled(8, 128, 256)},
        torch=grid_sample,
        given=("grid",),
        floor="image, grid and output once; the grid's points are in order, each moved by up to a pixel",
    ),
    "elementwise_add": Bench(
        recipe="elementwise_add", sizes=FLAT, torch=elementwise_add, attributes={"block_size": 2048}
    ),
    "inplace_add": Bench(recipe="inplace_add", sizes=FLAT, torch=inplace_add),
    "non_zero": Bench(
        recipe="non_zero",
        sizes={"small": {"R": 64, "C": 64}, "middle": {"R": 512, "C": 512}, "large": {"R": 4096, "C": 4096}},
        torch=non_zero,
        compiled=False,
        floor="input, and the rows that are found, once",
    ),
}
