# SPDX-License-Identifier: Apache-2.0
"""``compile --road library``: kernels that TensorRT's own launcher cannot launch, for a plugin library alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Run

from aotfactory.compiler import bundle as bundles
from aotfactory.core.arch import SHARED_LIMIT, parse_archs, shared_limit
from aotfactory.core.errors import OptionsError

MATMUL = '''\
import triton
import triton.language as tl
from typing import List, Tuple
from aotfactory import AotKernel, aot_kernel, trtp


@triton.jit
def matmul_kernel(a, b, c, K, M: tl.constexpr, N: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """One block of c = a @ b, whose stages of a and b lie in shared memory."""
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    total = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        left = tl.load(a + rows[:, None] * K + (k + inner)[None, :])
        right = tl.load(b + (k + inner)[:, None] * N + columns[None, :])
        total = tl.dot(left, right, total)
    tl.store(c + rows[:, None] * N + columns[None, :], total.to(tl.float16))


@trtp.register("road::matmul")
def register(a: trtp.TensorDesc, b: trtp.TensorDesc) -> trtp.TensorDesc:
    c = a.like()
    c.shape_expr[1] = b.shape_expr[1]
    return c


@trtp.autotune("road::matmul")
def autotune(a: trtp.TensorDesc, b: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP16, FP16, FP16", "LINEAR")]


@trtp.aot_impl("road::matmul")
def aot_impl(a: trtp.TensorDesc, b: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    return aot_kernel(
        matmul_kernel, a=a, b=b, c=outputs[0], K=a.shape_expr[1], M=128, N=256, BM=128, BN=128, BK=64,
        grid=(1, 2), num_stages=3, num_warps=8,
    )
'''
COMMAND = ("--shape", "a=128x192", "--shape", "b=192x256", "--dtype", "fp16", "--arch", "sm_90")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "matmul.py"
    path.write_text(MATMUL)
    return path


def test_more_shared_memory(module: Path, run: Run, tmp_path: Path) -> None:
    """Three stages of 128 x 64 and 64 x 128 fp16 are 96 KiB: too much for AOT plugins, and not for an H100."""
    command = ("compile", "road::matmul", "--plugins", str(module), *COMMAND, "--out", str(tmp_path))
    refused = run(*command)
    assert refused.code == 1
    assert "bytes of shared memory, TensorRT's launcher gives at most 49152" in refused.out
    assert "--road library" in refused.out
    made = run(*command, "--road", "library", "--format", "json")
    assert made.code == 0, made.err
    report = json.loads(made.out)
    assert report["road"] == "library"
    bundle = bundles.read(tmp_path / "matmul.aot")
    assert bundle.road == "library"
    (variant,) = bundle.variants
    assert SHARED_LIMIT < variant.launch["shared_mem"].evaluate({}) <= 227 * 1024
    refused = run("bake", str(tmp_path / "matmul.aot"))
    assert refused.code == OptionsError.exit_code
    assert "was compiled for a plugin library" in refused.err


@pytest.mark.parametrize(
    ("arch", "kib"), [("sm_75", 64), ("sm_80", 163), ("sm_86", 99), ("sm_90", 227), ("sm_120", 99), ("portable", 99)]
)
def test_limits(arch: str, kib: int) -> None:
    (found,) = parse_archs(arch)
    assert shared_limit(found, "library") == kib * 1024
    assert shared_limit(found, "aot") == SHARED_LIMIT
