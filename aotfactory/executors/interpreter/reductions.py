# SPDX-License-Identifier: Apache-2.0
"""Reductions and scans for Triton's interpreter, which adds the bits of bf16 and fp8, raises on rows of NaN alone, and
calls the combine function once for every element.

Sums are made in fp32 and rounded once. Maxima and minima drop NaN, as a GPU's do; the place of one in a row of NaN
alone is the first. Other combine functions are applied to whole halves,
as a tree, which is one of the orders that a GPU may take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter

from aotfactory.executors.inputs import Array
from aotfactory.executors.interpreter.narrow_floats import NARROW


@contextmanager
def whole_reductions() -> Iterator[None]:
    """Use these in the interpreter while this is open."""
    originals = interpreter.ReduceOps.apply_impl, interpreter.ScanOps.apply_impl
    interpreter.ReduceOps.apply_impl, interpreter.ScanOps.apply_impl = _reduce, _scan
    try:
        yield
    finally:
        interpreter.ReduceOps.apply_impl, interpreter.ScanOps.apply_impl = originals


def _reduce(self: Any, given: tuple[Any, ...]) -> list[Any]:
    arrays = [_numbers(t.handle) for t in given]
    axis = self.axis
    shape = arrays[0].shape
    if axis is None:
        axis, arrays = 0, [a.reshape(-1) for a in arrays]
    named = tl.standard
    combine = self.combine_fn
    if combine is named._sum_combine:
        found = [np.sum(arrays[0], axis=axis)]
    elif combine is named._elementwise_max:
        found = [_extreme(arrays[0], axis, np.fmax, np.maximum)]
    elif combine is named._elementwise_min:
        found = [_extreme(arrays[0], axis, np.fmin, np.minimum)]
    elif combine in (named._argmax_combine_tie_break_left, named._argmax_combine_tie_break_fast):
        found = _with_place(arrays, axis, largest=True)
    elif combine in (named._argmin_combine_tie_break_left, named._argmin_combine_tie_break_fast):
        found = _with_place(arrays, axis, largest=False)
    else:
        found = _tree(combine, arrays, axis, [t.dtype for t in given])
    if self.keep_dims:
        kept = [1] * len(shape) if self.axis is None else [*shape[:axis], 1, *shape[axis + 1 :]]
        found = [np.reshape(a, kept) for a in found]
    return [_tensor(a, t.dtype) for a, t in zip(found, given, strict=False)]


def _scan(self: Any, given: tuple[Any, ...]) -> list[Any]:
    arrays = [_numbers(t.handle) for t in given]
    flip: Callable[[Array], Array] = (lambda a: np.flip(a, self.axis)) if self.reverse else (lambda a: a)
    arrays = [flip(a) for a in arrays]
    if self.combine_fn is tl.standard._sum_combine:
        found = [np.cumsum(arrays[0], axis=self.axis)]
    elif self.combine_fn is tl.standard._prod_combine:
        found = [np.cumprod(arrays[0], axis=self.axis)]
    else:
        found = _prefixes(self.combine_fn, arrays, self.axis, [t.dtype for t in given])
    return [_tensor(np.ascontiguousarray(flip(a)), t.dtype) for a, t in zip(found, given, strict=True)]


def _extreme(array: Array, axis: int, of_floats: np.ufunc, of_others: np.ufunc) -> Array:
    return np.asarray((of_floats if array.dtype.kind == "f" else of_others).reduce(array, axis=axis))


def _with_place(arrays: Sequence[Array], axis: int, *, largest: bool) -> list[Array]:
    """The extreme values of one axis and, from the second array, where they are: the first of equals."""
    values = arrays[0]
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    extreme = _extreme(values, axis, np.fmax if largest else np.fmin, np.maximum if largest else np.minimum)
    candidates = ~missing & (values == np.expand_dims(extreme, axis))
    place = np.expand_dims(np.argmax(candidates, axis), axis)
    places = np.take_along_axis(arrays[1], place, axis) if len(arrays) > 1 else place
    return [extreme, np.squeeze(places, axis)]


def _tree(combine: Any, arrays: Sequence[Array], axis: int, kinds: Sequence[Any]) -> list[Array]:
    parts = [np.moveaxis(a, axis, 0) for a in arrays]
    while (length := len(parts[0])) > 1:
        even, odd = [p[: length - 1 : 2] for p in parts], [p[1:length:2] for p in parts]
        merged = _combined(combine, even, odd, kinds)
        parts = [np.concatenate([m, p[length - length % 2 :]]) for m, p in zip(merged, parts, strict=True)]
    return [p[0] for p in parts]


def _prefixes(combine: Any, arrays: Sequence[Array], axis: int, kinds: Sequence[Any]) -> list[Array]:
    parts = [np.moveaxis(a, axis, 0) for a in arrays]
    shift, length = 1, len(parts[0])
    while shift < length:
        before = [np.concatenate([p[:shift], p[:-shift]]) for p in parts]
        merged = _combined(combine, before, parts, kinds)
        parts = [np.concatenate([p[:shift], m[shift:]]) for p, m in zip(parts, merged, strict=True)]
        shift *= 2
    return [np.moveaxis(p, 0, axis) for p in parts]


def _combined(combine: Any, left: Sequence[Array], right: Sequence[Array], kinds: Sequence[Any]) -> list[Array]:
    given = [_tensor(a, kind) for side in (left, right) for a, kind in zip(side, kinds, strict=True)]
    result = combine.fn(*given)
    results = result if isinstance(result, tuple | tl.tuple) else (result,)
    found = []
    for value, part in zip(results, left, strict=True):
        numbers = _numbers(value.handle) if isinstance(value, tl.tensor) else np.asarray(value)
        found.append(np.broadcast_to(numbers, part.shape).astype(part.dtype))
    return found


def _numbers(handle: Any) -> Array:
    """The numbers behind a handle; narrow ones as fp32."""
    narrow = NARROW.get(str(handle.dtype.scalar))
    if narrow is not None and handle.data.dtype != np.bool_:
        return np.asarray(handle.data.view(narrow).astype(np.float32))
    data: Array = handle.data
    return data.astype(np.float32) if data.dtype == np.float16 else data


def _tensor(numbers: Any, kind: Any) -> Any:
    element = kind.scalar
    numbers = np.asarray(numbers)
    narrow = NARROW.get(str(element))
    bits = interpreter._get_np_dtype(element)
    with np.errstate(all="ignore"):
        data = numbers.astype(bits) if narrow is None else numbers.astype(narrow).view(bits)
    if not data.shape:
        return tl.tensor(interpreter.TensorHandle(data.reshape(1), element), element)
    return tl.tensor(interpreter.TensorHandle(data, element), tl.block_type(element, list(data.shape)))
