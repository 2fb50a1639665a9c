# SPDX-License-Identifier: Apache-2.0
"""The launcher on a real GPU: hand-written PTX, right and wrong, and what the launcher and compute-sanitizer say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import launcher_bundles as bundles
import numpy as np
import pytest

from aotfactory.core.errors import CheckError, DefinitionError, MissingError
from aotfactory.executors.native.launcher import LaunchResult, run_launcher
from aotfactory.executors.native.program import Timing

pytestmark = pytest.mark.launcher

HEADER = ".version 7.0\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 memory[];\n"
COPY = "ld.global.f32 %f1, [%rd4]; st.global.f32 [%rd5], %f1;"
BODIES = {  # %r5: the thread's element, %rd4 and %rd5: its addresses in x and y
    "copy": COPY,
    "store_behind": "ld.global.f32 %f1, [%rd4]; st.global.f32 [%rd5], %f1; st.global.f32 [%rd5+4], %f1;",
    "read_behind": "ld.global.f32 %f1, [%rd4+4]; st.global.f32 [%rd5], %f1;",
    "change_input": COPY + "st.global.f32 [%rd4], 0f3F800000;",
    "add_one": "ld.global.f32 %f1, [%rd4]; add.f32 %f1, %f1, 0f3F800000; st.global.f32 [%rd4], %f1;",
    "fault": "mov.u64 %rd6, 16; st.global.f32 [%rd6], 0f3F800000;",
    # by way of the last KiB of 96 KiB of dynamic shared memory
    "shared": """mov.u32 %r6, memory; shl.b32 %r7, %r4, 2; add.s32 %r6, %r6, %r7; ld.global.f32 %f1, [%rd4];
        st.shared.f32 [%r6+94208], %f1; ld.shared.f32 %f2, [%r6+94208]; st.global.f32 [%rd5], %f2;""",
}
POSITIVE = (
    HEADER
    + """.visible .entry positive(.param .u64 x, .param .u32 n, .param .u64 y, .param .u64 s) {
    .reg .pred %p<3>; .reg .b32 %r<4>; .reg .b64 %rd<4>; .reg .f32 %f<2>;
    ld.param.u64 %rd1, [x]; ld.param.u32 %r1, [n]; ld.param.u64 %rd2, [y]; ld.param.u64 %rd3, [s];
    mov.u32 %r2, 0; mov.u32 %r3, 0;
LOOP: setp.ge.s32 %p1, %r2, %r1; @%p1 bra END;
    ld.global.f32 %f1, [%rd1]; setp.gt.f32 %p2, %f1, 0f00000000;
    @%p2 st.global.f32 [%rd2], %f1; @%p2 add.s64 %rd2, %rd2, 4; @%p2 add.s32 %r3, %r3, 1;
    add.s64 %rd1, %rd1, 4; add.s32 %r2, %r2, 1; bra LOOP;
END: st.global.u32 [%rd3], %r3; ret;
}
"""
)


def ptx(name: str, mask: bool = True) -> str:
    """A kernel (x, n, y) that handles one element a thread, those from n on only without the mask."""
    return f"""{HEADER}.visible .entry {name}(.param .u64 x, .param .u32 n, .param .u64 y) {{
    .reg .pred %p<2>; .reg .b32 %r<8>; .reg .b64 %rd<8>; .reg .f32 %f<4>;
    ld.param.u64 %rd1, [x]; ld.param.u32 %r1, [n]; ld.param.u64 %rd2, [y];
    mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x; mad.lo.s32 %r5, %r2, %r3, %r4;
    {"setp.ge.s32 %p1, %r5, %r1; @%p1 bra DONE;" if mask else ""}
    mul.wide.s32 %rd3, %r5, 4; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;
    {BODIES[name]}
DONE: ret;
}}
"""


def kernel(name: str, mask: bool = True, **changes: Any) -> dict[str, Any]:
    return bundles.manifest(bundles.variant(kernel=name, ptx=ptx(name, mask), arch="portable", **changes))


@pytest.mark.parametrize("text", [*[ptx(name) for name in BODIES], ptx("copy", mask=False), POSITIVE])
def test_the_texts_assemble(tmp_path: Path, text: str) -> None:
    """Without a GPU, by the ptxas in the triton wheel."""
    import triton

    ptxas = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    (tmp_path / "k.ptx").write_text(text)
    for arch in ("sm_80", "sm_90"):
        command = [ptxas, f"-arch={arch}", "-o", tmp_path / "k.cubin", tmp_path / "k.ptx"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.gpu
class TestGpu:
    @staticmethod
    def run(folder: Path, manifest: dict[str, Any], **options: Any) -> LaunchResult:
        return run_launcher(bundles.write(folder, manifest), **options)

    @pytest.mark.parametrize("rows", [1, 127, 128, 129, 4096])
    def test_copy(self, tmp_path: Path, rows: int) -> None:
        array = np.random.default_rng(1).normal(size=(rows, 8)).astype(np.float32)
        array[0] = [np.nan, np.inf, -np.inf, -0.0, 1e-45, 0, 1, 2]
        result = self.run(tmp_path, kernel("copy"), inputs={"x": array})
        assert result.outputs["y"].tobytes() == array.tobytes()
        assert {check["status"] for check in result.runs[0].checks} == {"passed"}

    def test_in_place(self, tmp_path: Path) -> None:
        manifest = kernel("add_one")
        manifest["tensors"][1]["aliases"] = "x"
        array = np.arange(800, dtype=np.float32).reshape(100, 8)
        result = self.run(tmp_path, manifest, inputs={"x": array}, timing=Timing())
        np.testing.assert_array_equal(result.outputs["y"], array + 1)

    def test_data_dependent(self, tmp_path: Path) -> None:
        count = ["prod", "N", 8]
        tensors = [
            bundles.tensor("x", "input", ["N", 8]),
            bundles.tensor("y", "output", [["size_tensor", 1, count, count]]),
            bundles.tensor("s", "output", [], "int32"),
        ]
        calls = [{"name": "call", "plugin": "p", "attributes": {}, "inputs": ["x"], "outputs": ["y", "s"]}]
        launch = {name: 0 if name == "shared_mem" else 1 for name in bundles.variant()["launch"]}
        types = {"parameters": ["ptr", "i32", "ptr", "ptr"], "dtypes": ["fp32", "fp32", "int32"]}
        variant = bundles.variant(kernel="positive", ptx=POSITIVE, launch=launch, **types)
        array = np.random.default_rng(2).normal(size=(50, 8)).astype(np.float32)
        manifest = bundles.manifest(variant, tensors=tensors, calls=calls)
        result = self.run(tmp_path, manifest, inputs={"x": array})
        np.testing.assert_array_equal(result.outputs["y"], array[array > 0])

    def test_shared_memory_above_48_kib(self, tmp_path: Path) -> None:
        launch = {**bundles.variant()["launch"], "shared_mem": 98304}
        array = np.random.default_rng(3).normal(size=(300, 8)).astype(np.float32)
        result = self.run(tmp_path, kernel("shared", launch=launch), inputs={"x": array})
        assert result.outputs["y"].tobytes() == array.tobytes()

    @pytest.mark.parametrize(
        ("name", "changes", "message"),
        [
            ("store_behind", {}, "guard of y: 4 bytes changed behind the tensor, the nearest 0 bytes"),
            ("copy", {"mask": False}, "guard of y: 896 bytes changed behind the tensor"),
            ("read_behind", {}, "repeatable of y: depends on memory that holds no input: 1 elements"),
            ("change_input", {}, "input of x: the run changed 800 elements"),
            ("copy", {"extra_args": [["prod", "N", 7]]}, "written of y: never written: 100 elements, .* index 700"),
            ("fault", {}, "launch of call.fault.*: the kernel failed: CUDA_ERROR_ILLEGAL_ADDRESS"),
        ],
    )
    def test_wrong_kernels(self, tmp_path: Path, name: str, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(CheckError, match=message):
            self.run(tmp_path, kernel(name, **changes))

    def test_wrong_grid(self, tmp_path: Path) -> None:
        launch = {**bundles.variant()["launch"], "grid_x": ["floor_div", ["prod", "N", 8], 1024]}
        with pytest.raises(CheckError, match="written of y: never written: 352 elements"):
            self.run(tmp_path, kernel("copy", launch=launch), shapes={"x": (300, 8)})

    def test_too_many_threads(self, tmp_path: Path) -> None:
        """A block that the kernel's own directive does not allow."""
        text = ptx("copy").replace("y) {", "y) .reqntid 128 {")
        variant = bundles.variant(ptx=text)
        with pytest.raises(CheckError, match=r"launch of call.copy.*: cuLaunchKernel: CUDA_ERROR"):
            self.run(tmp_path, bundles.manifest(variant))

    def test_too_much_shared_memory(self, tmp_path: Path) -> None:
        launch = {**bundles.variant()["launch"], "shared_mem": 1 << 20}
        with pytest.raises(CheckError, match="wants 1048576 bytes of shared memory"):
            self.run(tmp_path, kernel("copy", launch=launch))

    def test_text_that_is_no_ptx(self, tmp_path: Path) -> None:
        text = ptx("copy").replace("ld.global.f32", "ld.nowhere.f32")
        with pytest.raises(DefinitionError, match=r"copy.ptx: the driver refuses it: CUDA_ERROR_INVALID_PTX"):
            self.run(tmp_path, bundles.manifest(bundles.variant(ptx=text)))

    def test_ptx_of_a_future_isa(self, tmp_path: Path) -> None:
        text = ptx("copy").replace(".version 7.0", ".version 99.0")
        with pytest.raises(MissingError, match=r"CUDA_ERROR_UNSUPPORTED_PTX_VERSION.*older than the PTX's ISA"):
            self.run(tmp_path, bundles.manifest(bundles.variant(ptx=text)))

    def test_timing(self, tmp_path: Path) -> None:
        options = Timing(graph=True, copy_baseline=True, input_sets=0)
        timing = self.run(tmp_path, kernel("copy"), at="max", timing=options).runs[0].timing
        assert timing is not None
        assert timing["bytes_moved"] == 2 * 4096 * 8 * 4
        assert timing["input_sets"] > 1
        for times in (timing["pass"], timing["copy"]):
            assert 0 < times["us"]["min"] <= times["us"]["median"] <= times["us"]["max"]
            assert times["graph_us"]["min"] > 0

    def test_python_free(self, tmp_path: Path) -> None:
        libraries = self.run(tmp_path, kernel("copy")).report["libraries"]
        assert [name for name in libraries if name.startswith("libcuda.so")]
        assert not [name for name in libraries if "python" in name or "nvinfer" in name or "triton" in name]

    @pytest.mark.parametrize(("name", "errors"), [("copy", False), ("store_behind", True), ("read_behind", True)])
    def test_compute_sanitizer(self, tmp_path: Path, name: str, errors: bool) -> None:
        sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        if not Path(sanitizer).is_file():
            pytest.skip("no compute-sanitizer on this machine")
        log = tmp_path / "log"
        wrapper = [sanitizer, "--tool", "memcheck", "--log-file", str(log)]
        try:
            self.run(tmp_path / "bundle", kernel(name), tight=True, wrapper=wrapper, check=False)
        except CheckError:
            assert errors  # the sanitizer ends a program that it found an error in
        assert ("ERROR SUMMARY: 0 errors" not in log.read_text()) == errors
