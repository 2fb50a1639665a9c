# SPDX-License-Identifier: Apache-2.0
"""What definitions for a plugin library may have: workspaces, several kernels, int64 and fp32 arguments, clusters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from building import MODULES, Built, build, edited, network, tensor

from aotfactory.core.arguments import Quotient
from aotfactory.core.errors import DefinitionError, MissingError
from aotfactory.plugins import nvrtc

CENTER, PAIRS, MIXED = (MODULES / f"{name}.py" for name in ("center", "pairs", "mixed"))


def made(tmp_path: Path, edits: dict[str, str] | None = None, *, road: Any = "library", **options: Any) -> Built:
    plugin, sources = edited(tmp_path, CENTER, edits)
    return build(network(plugin, tensor("x", "N=1/8/20 48")), sources, road=road, **options)


def test_two_kernels_share_a_workspace(tmp_path: Path) -> None:
    built = made(tmp_path)
    assert not built.failed, built.found
    variant = built.variant
    assert [kernel.parameters for kernel in variant.kernels] == [
        ("ptr", "i32", "ptr", "ptr"),
        ("ptr", "i32", "fp32", "i32", "ptr", "ptr"),
    ]
    assert [(str(w.bytes), w.at_most) for w in variant.workspaces] == [("cdiv(N*48, 64)*4", 60)]
    scale = variant.then[0].extra_args[1]
    assert isinstance(scale, Quotient)
    assert scale.evaluate({"N": 3}) == pytest.approx(1 / 144)
    assert variant.kernels[0].kernel != variant.kernels[1].kernel
    assert built.checks["interpreter"].detail.startswith("against the reference")


def test_a_row_of_many_programs_is_not_compared(tmp_path: Path) -> None:
    plugin, sources = edited(tmp_path, CENTER)
    built = build(network(plugin, tensor("x", "400 48")), sources, road="library")
    assert not built.failed, built.found
    check = built.checks["interpreter"]
    why = "memory accesses only: not all programs of its kernels in a row were run, at static x 400x48"
    assert (check.compared, check.detail[: len(why)]) == ("memory", why)


WRONG = {
    "a sum is missing": (
        {"grid=blocks)\n    second": "grid=trtp.max(blocks - 1, 1))\n    second"},
        "reads workspace 0",
    ),
    "a workspace is too small": ({"workspace(blocks,": "workspace(trtp.max(blocks - 1, 1),"}, "out-of-range"),
    "another scale": ({"quotient(1, n)": "quotient(2, n)"}, "elements differ"),
    "the other order": ({"aot_kernels(first, second)": "aot_kernels(second, first)"}, "reads workspace 0"),
    "the last sum again": ({"sums_ptr + i)": "sums_ptr + blocks - 1)"}, "elements differ"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones_are_found(name: str, tmp_path: Path) -> None:
    edits, said = WRONG[name]
    check = made(tmp_path, edits).checks["interpreter"]
    assert check.status == "failed"
    assert said in check.detail


def test_aot_plugins_cannot_have_it(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="a workspace takes a plugin library") as caught:
        made(tmp_path, road="aot")
    assert "--road library" in (caught.value.hint or "")
    row = {"sums = workspace(blocks, trt.float32)": "sums = outputs[0]"}
    with_constant = {**row, "quotient(1, n)": "0.5"}
    with pytest.raises(DefinitionError, match="several kernels in a row take"):
        made(tmp_path, with_constant, road="aot")
    with pytest.raises(DefinitionError, match="an fp32 argument that depends on dimensions takes a plugin library"):
        made(tmp_path, row, road="aot")


def test_what_none_of_the_kernels_takes_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"sum_kernel is not given outputs\[0\]"):
        made(tmp_path, {"y_ptr=outputs[0]": "y_ptr=sums"})


def test_an_output_that_no_kernel_uses(tmp_path: Path) -> None:
    built = made(tmp_path, {"tl.store(y_ptr + i": "tl.store(sums_ptr + i"}, interpret=False)
    assert "no kernel of the 2 uses the pointer of output 0" in built.checks["abi"].detail


def test_a_number_beyond_int32_is_an_int64(tmp_path: Path) -> None:
    """Of the library's kernels alone; Triton's own launch types it so, too."""
    edits = {
        "n=n, sums_ptr=sums": "n=n * 960 * 960 * 960 * 960, sums_ptr=sums",
        "mask=i < n, other=0.0), 0))": "mask=i < n // 960 // 960 // 960 // 960, other=0.0), 0))",
    }
    built = made(tmp_path, edits, interpret=False)
    assert not built.failed, built.found
    assert built.variant.parameters == ("ptr", "i64", "ptr", "ptr")
    assert re.search(r"\.param \.u64 \w+_param_1\b", built.variant.text)


@pytest.fixture
def compiler() -> None:
    try:
        nvrtc._library()
    except MissingError as error:
        pytest.skip(error.message)


def mixed(tmp_path: Path, edits: dict[str, str] | None = None, **options: Any) -> Built:
    plugin, sources = edited(tmp_path, MIXED, edits)
    return build(network(plugin, tensor("x", "N=1/8/20 48")), sources, road="library", archs="sm_90", **options)


@pytest.mark.usefixtures("compiler")
def test_cuda_in_a_row_with_triton(tmp_path: Path) -> None:
    built = mixed(tmp_path)
    assert not built.failed, built.found
    first, second = built.variant.kernels
    assert first.parameters == ("ptr", "i32", "ptr", "ptr")
    assert second.parameters == ("ptr", "i32", "fp32", "i32", "ptr", "ptr")
    assert second.extra_args[1].evaluate({"N": 3}) == pytest.approx(1 / 144)
    assert (first.cluster_at_launch, second.cluster_at_launch) == (None, (16, 1, 1))
    assert [(str(w.bytes), w.at_most) for w in built.variant.workspaces] == [("cdiv(N*48, 64)*4", 60)]
    check = built.checks["interpreter"]
    assert (check.status, "minus_mean_aot, in a row with others, is not a Triton kernel" in check.detail) == (
        "skipped",
        True,
    )


@pytest.mark.usefixtures("compiler")
def test_cuda_alone_in_a_row_passes_every_workspace(tmp_path: Path) -> None:
    """Also one that its kernel does not take."""
    edits = {
        "launch(sum_kernel, x_ptr=x, n=n, sums_ptr=sums, BLOCK=64, grid=blocks)": (
            'launch_cuda("extern \\"C\\" __global__ void nothing(int *all) { *all = 0; }\\n", "nothing", '
            "all=workspace(1, trt.int32), grid=1, block=1)"
        )
    }
    built = mixed(tmp_path, edits)
    assert not built.failed, built.found
    assert [k.parameters for k in built.variant.kernels] == [
        ("ptr", "ptr", "ptr", "ptr"),
        ("ptr", "i32", "fp32", "i32", "ptr", "ptr", "ptr"),
    ]
    assert built.checks["interpreter"].detail == "not a Triton kernel"


@pytest.mark.usefixtures("compiler")
def test_cuda_in_a_row_takes_its_arguments(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="minus_mean is not given blocks"):
        mixed(tmp_path, {"            blocks=blocks,\n": ""})
    with pytest.raises(DefinitionError, match=r"sum_kernel is not given outputs\[0\]"):
        mixed(tmp_path, {"y=outputs[0]": "y=sums"})


def cuda(tmp_path: Path, cluster: str, arch: str = "sm_90") -> Built:
    plugin, sources = edited(tmp_path, PAIRS, {"CLUSTER = 2": f"CLUSTER = {cluster}"})
    return build(network(plugin, tensor("x", "N=1/8/100 48")), sources, road="library", archs=arch)


@pytest.mark.usefixtures("compiler")
def test_cuda_with_a_cluster_that_the_launch_states(tmp_path: Path) -> None:
    built = cuda(tmp_path, "2")
    assert not built.failed, built.found
    variant = built.variant
    assert variant.parameters == ("ptr", "i64", "fp32", "ptr", "ptr")
    assert (variant.cluster, variant.cluster_at_launch) == ((1, 1, 1), (2, 1, 1))
    assert [str(w.bytes) for w in variant.workspaces] == ["N*192"]
    assert "clusters of 2 blocks" in built.checks["abi"].detail


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("cluster", "arch", "check", "said"),
    [
        ("None", "sm_90", "abi", "it works in thread block clusters (%cluster_ctarank), and does not state their size"),
        ("(2, 2)", "sm_90", "bounds", "grid_y = 1 is not a multiple of the cluster's 2 blocks"),
        ("4", "sm_90", "bounds", "grid_x = N*2 is not a multiple of the cluster's 4 blocks"),
        ("16", "sm_90", "bounds", "grid_x = N*2 is not a multiple of the cluster's 16 blocks"),
        ("32", "sm_90", "abi", "it demands clusters of 32 blocks"),
    ],
)
def test_wrong_clusters(cluster: str, arch: str, check: str, said: str, tmp_path: Path) -> None:
    built = cuda(tmp_path, cluster, arch)
    found = built.checks[check]
    assert found.status == "failed"
    assert said in found.detail
