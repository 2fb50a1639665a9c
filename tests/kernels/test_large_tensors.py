# SPDX-License-Identifier: Apache-2.0
"""Tensors of more than 2^31 bytes, and of more than 2^31 elements, through the launcher."""

import numpy as np
import pytest

from aotfactory.api import build
from aotfactory.compiler.compile import Options
from aotfactory.core.arch import parse_archs
from aotfactory.executors.native.launcher import run_launcher
from aotfactory.targets.request import TargetOptions

pytestmark = [pytest.mark.gpu, pytest.mark.launcher, pytest.mark.slow]


def _run(tmp_path, recipe, dtype, array):
    request = TargetOptions(shape={"x": array.shape}, dtype={None: dtype})
    options = Options(archs=parse_archs("native"))
    report = build.build_bundle(recipe, request=request, options=options, out=tmp_path, interpret=False)
    assert report.path is not None, report.failed
    return run_launcher(report.path, inputs={"x": array}, tactic="all", timeout=900).runs


def test_more_than_2_31_bytes(tmp_path):
    x = np.arange(5 * 2**27, dtype=np.float32).reshape(5, 2**27)
    assert x.nbytes > 2**31
    for run in _run(tmp_path, "elementwise_add", "fp32", x):
        np.testing.assert_array_equal(run.outputs["y"], x + 1)


def test_more_than_2_31_elements(tmp_path):
    x = np.resize(np.arange(-125, 126, dtype=np.int8), (1, 1, 47000, 47000))
    assert x.size > 2**31
    expected = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="wrap")
    for run in _run(tmp_path, "circ_pad", "int8", x):
        np.testing.assert_array_equal(run.outputs["y"], expected)
