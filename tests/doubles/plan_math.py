# SPDX-License-Identifier: Apache-2.0
"""What the samples' plans compute, for programs in place of trtexec and the runner. NumPy alone: it starts fast."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

FUNCTIONS: dict[str, Callable[[np.ndarray], dict[str, np.ndarray]]] = {
    "circ_pad": lambda x: {"y": np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "wrap")},
    "inplace_add": lambda x: {"y": x + x.dtype.type(1) + x.dtype.type(1)},
    "non_zero": lambda x: {
        "indices": np.argwhere(x != 0).astype(np.int32),
        "number": np.array(np.count_nonzero(x), np.int64),
    },
}


def compute(name: str, x: np.ndarray, spoil: str = "") -> dict[str, np.ndarray]:
    """The outputs, one element of one of them wrong where the shape or the data is as `spoil` has it."""
    with np.errstate(all="ignore"):
        outputs = FUNCTIONS[name](x)
    shape = "x".join(map(str, x.shape))
    if spoil and spoil in (shape, "nan" if np.isnan(x).any() else "finite"):
        first = next(iter(outputs.values())).reshape(-1)
        first[-1] = first[-1] == 0
    return outputs
