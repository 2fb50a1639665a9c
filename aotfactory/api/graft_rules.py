# SPDX-License-Identifier: Apache-2.0
"""The patterns that `graft` looks for, as both of PyTorch's exporters write it, and the plugin that takes its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Pattern = Callable[..., Any]
"""``pattern(op, x, ...)``: an expression of onnxscript's rewriter."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Patterns, and what takes their place.

    Attributes:
        build: ``build(make, values, match)``: the output of the replacement, made with `make` (see `graft.Builder`)
            from the pattern's variables by name; None where the match is not wanted.
    """

    name: str
    plugin: str
    patterns: tuple[Pattern, ...]
    build: Callable[[Any, Mapping[str, Any], Any], Any]


def constant(value: Any) -> np.ndarray[Any, Any] | None:
    """The array of a constant of the model; None where it is computed."""
    return None if value is None or value.const_value is None else np.asarray(value.const_value.numpy())


def rank(value: Any) -> int:
    """Number of dimensions; -1 where it is not known."""
    return -1 if value.shape is None else len(value.shape)


def attribute(match: Any, operator: str, name: str, default: Any) -> Any:
    """An attribute of the match's first node of this operator."""
    node = next(n for n in match.nodes if n.op_type == operator)
    return node.attributes[name].value if name in node.attributes else default


def _pad(op: Any, x: Any, pads: Any) -> Any:
    return op.Pad(x, pads, mode="wrap", _allow_other_inputs=True)


def _build_pad(make: Any, values: Mapping[str, Any], match: Any) -> Any:
    pads, x = constant(values["pads"]), values["x"]
    if pads is None or rank(x) != 4 or len(pads) != 8 or any(pads[[0, 1, 4, 5]]) or min(pads) < 0:
        return None
    top, left, bottom, right = (int(pads[i]) for i in (2, 3, 6, 7))
    return make.call(x, pads=[left, right, top, bottom])


def _sliced_pad(op: Any, x: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    rows = op.Concat(
        op.Slice(x, a, b, _allow_other_inputs=True), x, op.Slice(x, c, d, _allow_other_inputs=True), axis=2
    )
    left, right = op.Slice(rows, e, f, _allow_other_inputs=True), op.Slice(rows, g, h, _allow_other_inputs=True)
    return op.Concat(left, rows, right, axis=3)


def _build_sliced_pad(make: Any, values: Mapping[str, Any], match: Any) -> Any:
    x = values["x"]
    starts, ends = [constant(values[n]) for n in "ae"], [constant(values[n]) for n in "dh"]
    if rank(x) != 4 or any(v is None or v.size != 1 for v in (*starts, *ends)):
        return None
    (top, left), (bottom, right) = ([int(v.item()) for v in found if v is not None] for found in (starts, ends))
    sizes = [d if isinstance(d, int) else None for d in x.shape][2:]
    before = []
    for start, size in ((top, sizes[0]), (left, sizes[1])):
        if start >= 0 and size is None:
            return None
        before.append(-start if start < 0 else int(size or 0) - start)
    return make.call(x, pads=[before[1], right, before[0], bottom])


def _rms_reciprocal(op: Any, x: Any, two: Any, axes: Any, eps: Any, w: Any) -> Any:
    mean = op.ReduceMean(op.Pow(x, two), axes, keepdims=1, _allow_other_attributes=True)
    return x * op.Reciprocal(op.Sqrt(mean + eps)) * w


def _rms_divided(op: Any, x: Any, two: Any, eps: Any, one: Any, w: Any) -> Any:
    mean = op.ReduceMean(op.Pow(x, two), keepdims=1, _allow_other_inputs=True, _allow_other_attributes=True)
    return x * op.Div(one, op.Sqrt(mean + eps)) * w


def _build_rms(make: Any, values: Mapping[str, Any], match: Any) -> Any:
    eps, w = constant(values["eps"]), values["w"]
    return None if eps is None or eps.size != 1 or rank(w) != 1 else make.call(values["x"], w, eps=float(eps.item()))


def _rms_operator(op: Any, x: Any, w: Any) -> Any:
    return op.RMSNormalization(x, w, _allow_other_attributes=True)


def _build_norm(make: Any, values: Mapping[str, Any], match: Any) -> Any:
    operator = match.nodes[-1].op_type
    if rank(values["w"]) != 1 or attribute(match, operator, "axis", -1) not in (-1, rank(values["x"]) - 1):
        return None
    given = [values[n] for n in ("x", "w", "b") if n in values]
    return make.call(*given, eps=float(attribute(match, operator, "epsilon", 1e-5)))


def _layer_norm(op: Any, x: Any, w: Any, b: Any) -> Any:
    return op.LayerNormalization(x, w, b, _allow_other_attributes=True)


def _group_norm(op: Any, x: Any, s: Any, scale: Any, zero: Any, t: Any, w: Any, b: Any) -> Any:
    grouped = op.Reshape(x, s, _allow_other_attributes=True)
    normal = op.InstanceNormalization(grouped, scale, zero, _allow_other_attributes=True)
    y = op.Reshape(normal, t, _allow_other_attributes=True) * w + b
    return y * op.Sigmoid(y)


def _build_group_norm(make: Any, values: Mapping[str, Any], match: Any) -> Any:
    w, b, scale = (constant(values[n]) for n in ("w", "b", "scale"))
    if w is None or b is None or scale is None or rank(values["x"]) < 3:
        return None
    name = match.outputs[0].name
    flat = [make.constant(f"{name}.{part}", np.ravel(array)) for part, array in (("weight", w), ("bias", b))]
    eps = float(attribute(match, "InstanceNormalization", "epsilon", 1e-5))
    return make.call(values["x"], *flat, groups=int(scale.size), eps=eps)


def _swiglu(op: Any, x: Any) -> Any:
    a, b = op.Split(x, _outputs=2, _allow_other_inputs=True, _allow_other_attributes=True)
    return a * op.Sigmoid(a) * b


def _swiglu_sliced(op: Any, x: Any, s: Any, e: Any, t: Any, f: Any) -> Any:
    a, b = op.Slice(x, s, e, _allow_other_inputs=True), op.Slice(x, t, f, _allow_other_inputs=True)
    return a * op.Sigmoid(a) * b


def _gelu(op: Any, x: Any, b: Any) -> Any:
    return op.Gelu(x + b, approximate="tanh")


def _gelu_of_gemm(op: Any, x: Any, w: Any, b: Any) -> Any:
    return op.Gelu(op.Gemm(x, w, b, _allow_other_attributes=True), approximate="tanh")


def _tanh_formula(op: Any, y: Any, half: Any, cube: Any, root: Any, one: Any) -> Any:
    inner = (y + (y * y * y) * cube) * root
    return half * (y * (op.Tanh(inner) + one))


def _gelu_formula(op: Any, x: Any, b: Any, half: Any, cube: Any, root: Any, one: Any) -> Any:
    return _tanh_formula(op, x + b, half, cube, root, one)


def _gelu_formula_of_gemm(op: Any, x: Any, w: Any, b: Any, half: Any, cube: Any, root: Any, one: Any) -> Any:
    y = op.Gemm(x, w, b, _allow_other_attributes=True)
    inner = (y + (y * (y * y)) * cube) * root
    return (y * (op.Tanh(inner) + one)) * half


def _build_gelu(make: Any, values: Mapping[str, Any], match: Any) -> Any:
    x, b = values["x"], values["b"]
    if "w" in values:
        if attribute(match, "Gemm", "alpha", 1.0) != 1.0 or attribute(match, "Gemm", "beta", 1.0) != 1.0:
            return None
        turned = {n: int(attribute(match, "Gemm", n, 0)) for n in ("transA", "transB")}
        x = make.node("Gemm", x, values["w"], **turned)
    return make.call(x, b) if rank(b) == 1 else None


def _rope(op: Any, x: Any, cos: Any, sin: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    first, second = op.Slice(x, a, b, _allow_other_inputs=True), op.Slice(x, c, d, _allow_other_inputs=True)
    return x * cos + op.Concat(op.Neg(first), second, axis=-1) * sin


def _build_rope(make: Any, values: Mapping[str, Any], match: Any) -> Any:
    x, name = values["x"], match.outputs[0].name
    tables = [constant(values[n]) for n in ("cos", "sin")]
    if rank(x) != 4 or any(t is None or np.squeeze(t).ndim != 2 for t in tables):
        return None
    halves = []
    for part, table in zip(("cos", "sin"), tables, strict=True):
        assert table is not None
        rows = np.squeeze(table)
        halves.append(make.constant(f"{name}.{part}", rows[:, : rows.shape[1] // 2]))
    turned = make.call(make.node("Transpose", x, perm=[0, 2, 1, 3]), *halves)
    return make.node("Transpose", turned, perm=[0, 2, 1, 3])


def _masked_softmax(op: Any, x: Any, m: Any) -> Any:
    return op.Softmax(x + m, axis=-1)


def _build_masked_softmax(make: Any, values: Mapping[str, Any], match: Any) -> Any:
    x, mask = values["x"], values["m"]
    if rank(x) < 1 or not 1 <= rank(mask) <= rank(x):
        return None
    shape, own = list(x.shape), list(mask.shape)
    while own and own[0] == 1 and len(own) > 1 and own != shape[-len(own) :]:
        own.pop(0)
    if own != shape[len(shape) - len(own) :] or len(own) != rank(mask):
        return None  # the plugin's mask repeats over leading dimensions only
    return make.call(x, mask)


def _grid_sample(op: Any, x: Any, g: Any) -> Any:
    return op.GridSample(x, g, _allow_other_attributes=True)


def _build_grid_sample(make: Any, values: Mapping[str, Any], match: Any) -> Any:
    mode, padding = (attribute(match, "GridSample", n, d) for n, d in (("mode", "linear"), ("padding_mode", "zeros")))
    if mode not in ("linear", "bilinear") or padding not in ("zeros", "border") or rank(values["x"]) != 4:
        return None
    corners = int(attribute(match, "GridSample", "align_corners", 0))
    return make.call(values["x"], values["g"], padding=padding, align_corners=corners)


def _x_alone(make: Any, values: Mapping[str, Any], match: Any) -> Any:
    return make.call(values["x"])


RULES = (
    Rule(name="circular padding", plugin="aotfactory::circ_pad", patterns=(_pad,), build=_build_pad),
    Rule(
        name="circular padding of slices",
        plugin="aotfactory::circ_pad",
        patterns=(_sliced_pad,),
        build=_build_sliced_pad,
    ),
    Rule(name="RMSNorm", plugin="aotfactory::rms_norm", patterns=(_rms_reciprocal, _rms_divided), build=_build_rms),
    Rule(name="RMSNormalization", plugin="aotfactory::rms_norm", patterns=(_rms_operator,), build=_build_norm),
    Rule(name="LayerNorm", plugin="aotfactory::layer_norm", patterns=(_layer_norm,), build=_build_norm),
    Rule(
        name="GroupNorm and SiLU",
        plugin="aotfactory::group_norm_silu",
        patterns=(_group_norm,),
        build=_build_group_norm,
    ),
    Rule(name="SwiGLU", plugin="aotfactory::silu_and_mul", patterns=(_swiglu, _swiglu_sliced), build=_x_alone),
    Rule(
        name="GELU of a sum",
        plugin="aotfactory::gelu_tanh_bias",
        patterns=(_gelu, _gelu_of_gemm, _gelu_formula, _gelu_formula_of_gemm),
        build=_build_gelu,
    ),
    Rule(name="RoPE", plugin="aotfactory::rope", patterns=(_rope,), build=_build_rope),
    Rule(
        name="softmax with a mask",
        plugin="aotfactory::masked_softmax",
        patterns=(_masked_softmax,),
        build=_build_masked_softmax,
    ),
    Rule(name="GridSample", plugin="aotfactory::grid_sample", patterns=(_grid_sample,), build=_build_grid_sample),
)
"""aotfactory's own, in the order in which they are tried."""
