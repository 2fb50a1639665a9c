# SPDX-License-Identifier: Apache-2.0
"""The checks, checked: good plugins are broken in one way at a time, and each break is caught by the right check."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import triton
from building import Built, build, edited, network, tensor

MUTANTS = Path(__file__).resolve().parents[1] / "mutants"


@dataclass(frozen=True)
class Mutant:
    """Edits of a good module: each old text stands in it once.

    Attributes:
        caught: A pattern for the detail of every check that must fail; no other may.
    """

    name: str
    edits: dict[str, str]
    caught: dict[str, str]
    arch: str = "portable"
    isa: str = "8.0"


N = "extra_args[0] = trtp.SymInt32(n)"
ROWS = "extra_args[1] = trtp.SymInt32(rows)"
PARAMETERS = "(a_ptr, b_ptr, n, rows, y_ptr, BLOCK: tl.constexpr)"
STORE = "tl.store(y_ptr + i, a - b, mask=i < n)"
GRID = "launch.grid_x = trtp.cdiv(n, BLOCK)"
BLOCK_X = "launch.block_x = compiled.metadata.num_warps * 32"
SHARED = "launch.shared_mem = compiled.metadata.shared"
OPTIONS = '{"num_warps": 1}'
SUM = {"BLOCK = 32": "BLOCK = 64", OPTIONS: '{"num_warps": 2}', STORE: STORE.replace("a - b", "a - b + tl.sum(a)")}
HINT_N = '(2,): [["tt.divisibility", 16]]'

TRITON = (
    # The arguments.
    Mutant(
        "inputs swapped",
        {PARAMETERS: "(b_ptr, a_ptr, n, rows, y_ptr, BLOCK: tl.constexpr)"},
        {"interpreter": r"y: \d+ of \d+ elements differ, first at \(0, 0\).*, random data"},
    ),
    Mutant(
        "input and output swapped",
        {PARAMETERS: "(y_ptr, b_ptr, n, rows, a_ptr, BLOCK: tl.constexpr)"},
        {"interpreter": r"reads y where nothing was written"},
    ),
    Mutant(
        "output before the last extra argument",
        {PARAMETERS: "(a_ptr, b_ptr, n, y_ptr, rows, BLOCK: tl.constexpr)"},
        {"abi": r"parameter 3 .* is declared as ptr, TensorRT passes an int32 there \(extra argument 1\)"},
    ),
    Mutant(
        "extra arguments swapped",
        {N: "extra_args[1] = trtp.SymInt32(n)", ROWS: "extra_args[0] = trtp.SymInt32(rows)"},
        {
            "bounds": r"extra argument 0 = N was promised to be a multiple of 16; the profile proves 1",
            "interpreter": r"elements of y were not written",
        },
    ),
    Mutant(
        "extra argument not passed",
        {"SymIntExprs(2)": "SymIntExprs(1)", ROWS: "pass"},
        {"abi": r"takes 7 parameters \(ptr, ptr, i32, i32, ptr, ptr, ptr\), TensorRT passes 4"},
    ),
    Mutant(
        "one extra argument too many",
        {"SymIntExprs(2)": "SymIntExprs(3)", ROWS: f"{ROWS}; extra_args[2] = trtp.SymInt32(rows)"},
        {"abi": r"parameter 4 .* is declared as ptr, TensorRT passes an int32 there \(extra argument 2\)"},
    ),
    Mutant(
        "kernel without the output's parameter",
        {PARAMETERS: "(a_ptr, b_ptr, n, rows, BLOCK: tl.constexpr)", STORE: "pass", '"y_ptr": "*fp32",': ""},
        {"abi": r"never uses the pointer of output 0"},
    ),
    Mutant(
        "kernel with a pointer too many",
        {
            PARAMETERS: "(a_ptr, b_ptr, n, rows, y_ptr, z_ptr, BLOCK: tl.constexpr)",
            STORE: f"{STORE}; tl.store(z_ptr + i, b, mask=i < n)",
            '"y_ptr": "*fp32",': '"y_ptr": "*fp32", "z_ptr": "*fp32",',
        },
        {"abi": r"takes 8 parameters .* TensorRT passes 5"},
    ),
    # The types.
    Mutant(
        "output of another type",
        {'"y_ptr": "*fp32"': '"y_ptr": "*fp16"'},
        {"abi": r"the kernel takes y as \*fp16, but the tensor is fp32; declare it \*fp32"},
    ),
    Mutant(
        "64-bit extra argument",
        {'"rows": "i32"': '"rows": "i64"'},
        {"abi": r"parameter 3 .* is declared as [iu]64, TensorRT passes an int32"},
    ),
    Mutant(
        "float extra argument",
        {'"rows": "i32"': '"rows": "fp32"', "j = i + rows": "j = i + rows.to(tl.int32)"},
        {"abi": r"parameter 3 .* is declared as [bf]32, TensorRT passes an int32"},
    ),
    # The launch.
    Mutant(
        "grid too small by one",
        {GRID: f"{GRID} - 1"},
        {"interpreter": r"\d+ of \d+ elements of y were not written"},
    ),
    Mutant(
        "grid of none at the smallest shape",
        {GRID: "launch.grid_x = n // 64"},
        {
            "bounds": r"grid_x = N\*48//64 is 0 at N=1: nothing would run",
            "interpreter": r"\d+ of \d+ elements of y were not written",
        },
    ),
    Mutant(
        "grid too large for its axis",
        {GRID: f"{GRID}; launch.grid_y = n * 1000"},
        {"bounds": r"grid_y = N\*48000 is 3072000 at N=64: CUDA's limit is 65535"},
    ),
    Mutant(
        "another block than compiled for",
        {BLOCK_X: "launch.block_x = 64"},
        {"abi": r"compiled for blocks of \(32, 1, 1\) threads \(.reqntid\), the launch has \(64, 1, 1\)"},
    ),
    Mutant(
        "a block that changes with the shape",
        {BLOCK_X: "launch.block_x = rows"},
        {"abi": r"compiled for blocks of \(32, 1, 1\) threads.* the launch has N x 1 x 1"},
    ),
    Mutant(
        "more shared memory than TensorRT gives",
        {SHARED: "launch.shared_mem = 48 * 1024 + 16"},
        {"abi": r"49168 bytes of shared memory, TensorRT's launcher gives at most 49152; use smaller blocks"},
    ),
    Mutant(
        "less shared memory than the kernel needs",
        {**SUM, SHARED: "pass"},
        {"abi": r"the kernel needs \d+ bytes of dynamic shared memory, the launch gives it 0"},
    ),
    Mutant(
        "half the shared memory that the kernel needs",
        {**SUM, SHARED: "launch.shared_mem = compiled.metadata.shared // 2"},
        {"abi": r"the kernel needs \d+ bytes of dynamic shared memory, the launch gives it \d+"},
    ),
    Mutant(
        "cluster of two blocks, and a grid of programs",
        {OPTIONS: '{"num_warps": 1, "num_ctas": 2}'},
        {"bounds": r"grid_x = .* is not a multiple of the cluster's 2 blocks", "interpreter": "were not written"},
        arch="sm_90",
    ),
    Mutant(
        "cooperative launch",
        {OPTIONS: '{"num_warps": 1, "launch_cooperative_grid": True}'},
        {"abi": r"wants a cooperative launch, which TensorRT cannot make"},
    ),
    Mutant(
        "dependent launch",
        {OPTIONS: '{"num_warps": 1, "launch_pdl": True}'},
        {"abi": r"wants a dependent launch, which TensorRT cannot make"},
        arch="sm_90",
    ),
    Mutant(
        "scratch memory",
        {
            STORE: "tl.make_tensor_descriptor(y_ptr, [n], [1], [BLOCK]).store([tl.program_id(0) * BLOCK], a - b)",
        },
        {"abi": r"it uses .* after the 5 parameters that TensorRT passes: Triton's scratch"},
        arch="sm_90",
        isa="8.6",
    ),
    Mutant(
        "a kernel name that is not there",
        {"return compiled.metadata.name": 'return "shifted"'},
        {"abi": r"the PTX has no kernel 'shifted'; it has shifted_sub_kernel"},
    ),
    # The promises.
    Mutant(
        "a divisor of the last dimension only at some shapes",
        {HINT_N: '(2,): [["tt.divisibility", 32]]'},
        {"bounds": r"extra argument 0 = N\*48 was promised to be a multiple of 32; the profile proves 48"},
    ),
    Mutant(
        "a dynamic dimension promised to be divisible",
        {HINT_N: '(3,): [["tt.divisibility", 16]]'},
        {"bounds": r"extra argument 1 = N was promised to be a multiple of 16; the profile proves 1"},
    ),
    Mutant(
        "a pointer promised to be aligned more than it is",
        {'(0,): [["tt.divisibility", 16]]': '(0,): [["tt.divisibility", 512]]'},
        {"abi": r"parameter 0 was promised to be aligned to 512 bytes; TensorRT aligns to 256"},
    ),
    Mutant(
        "int32 overflow at the largest shape",
        {"j = i + rows": "n = n // 1000000\n    j = i + rows", N: "extra_args[0] = trtp.SymInt32(n * 1000000)"},
        {
            "bounds": r"extra argument 0 = N\*48000000 is 3072000000 at N=64: an extra argument is an int32",
            "interpreter": r"n is 3072000000, which int32 does not hold; at a 64x48",
        },
    ),
    # The memory.
    Mutant(
        "no mask on a load",
        {"tl.load(a_ptr + i, mask=i < n)": "tl.load(a_ptr + i)"},
        {"interpreter": r"out-of-range read: byte \d+ of a \(\d+ bytes\)"},
    ),
    Mutant(
        "no mask on the store",
        {STORE: STORE.replace(", mask=i < n", "")},
        {"interpreter": r"out-of-range write: byte \d+ of y \(\d+ bytes\)"},
    ),
    Mutant(
        "a mask that lets one more through",
        {STORE: STORE.replace("i < n", "i <= n")},
        {"interpreter": r"out-of-range write: byte \d+ of y \(\d+ bytes\)"},
    ),
    Mutant(
        "an address before the tensor",
        {"a_ptr + i,": "a_ptr + i - 1,"},
        {"interpreter": r"out-of-range read: byte -4 of a \(\d+ bytes\)"},
    ),
    Mutant(
        "unwritten tail",
        {STORE: STORE.replace("i < n", "i < n - 1")},
        {"interpreter": r"\d+ of \d+ elements of y were not written"},
    ),
    Mutant(
        "an input written to",
        {STORE: f"{STORE}; tl.store(b_ptr + j, b, mask=i < n)"},
        {"interpreter": r"writes to b, which is an input"},
    ),
    Mutant(
        "the output read before it is written",
        {STORE: STORE.replace("a - b", "a - b + tl.load(y_ptr + i, mask=i < n)")},
        {"interpreter": r"reads y where nothing was written"},
    ),
    # The arithmetic.
    Mutant(
        "wrapping around one too late",
        {"tl.where(j >= n, j - n, j)": "tl.where(j > n, j - n, j)"},
        {"interpreter": r"out-of-range read: byte \d+ of b \(\d+ bytes\)"},
    ),
    Mutant(
        "wrapping around to the wrong element",
        {"tl.where(j >= n, j - n, j)": "tl.where(j >= n, j - n + 1, j)"},
        {"interpreter": r"y: \d+ of \d+ elements differ, first at \("},
    ),
    Mutant(
        "the wrong operator",
        {STORE: STORE.replace("a - b", "a + b")},
        {"interpreter": r"y: \d+ of \d+ elements differ"},
    ),
    Mutant(
        "a wrong result for NaN alone",
        {STORE: STORE.replace("a - b", "tl.where(a == a, a - b, 0.0)")},
        {"interpreter": r"y: \d+ of \d+ elements differ, first at .*: 0.0 instead of nan; .* adversarial data"},
    ),
    Mutant(
        "the optimal shape compiled in",
        {ROWS: "extra_args[1] = trtp.SymInt32(a.shape.opt[0])"},
        {"interpreter": r"y: \d+ of \d+ elements differ.*"},
    ),
    Mutant(
        "the smallest shape compiled in",
        {ROWS: "extra_args[1] = trtp.SymInt32(a.shape.min[0])"},
        {"interpreter": r"y: \d+ of \d+ elements differ.*"},
    ),
    Mutant(
        "right at the smallest and optimal shape alone",
        {ROWS: "extra_args[1] = trtp.SymInt32(trtp.min(rows, ShapeExpr(63)))".replace("ShapeExpr", "trtp.ShapeExpr")},
        {"interpreter": r"y: \d+ of \d+ elements differ.*"},
    ),
)

ENTRY = "(.param .u64 x, .param .u32 n, .param .u64 y)"
LOAD = "ld.global.b32 %r5, [%rd4];"

PTX = (
    Mutant("not PTX", {".version 7.0": ""}, {"abi": r"malformed PTX: no .version directive"}),
    Mutant(
        "an instruction of a newer ISA",
        {".version 7.0": ".version 8.8", LOAD: f"{LOAD}\n.reg .b128 %q; ld.global.b128 %q, [%rd1];"},
        {"ptxas": r"requires PTX ISA .version 8.3 or later"},
    ),
    Mutant(
        "an instruction of a newer architecture",
        {LOAD: f"{LOAD}\nfence.proxy.async;", ".version 7.0": ".version 8.0"},
        {"ptxas": r"requires .target sm_90 or higher"},
    ),
    Mutant(
        "an instruction that is none",
        {LOAD: "ld.global.b32 %r5, %rd4;"},
        {"ptxas": r"ptxas refuses the PTX for sm_80: .* in `ld.global.b32 %r5, %rd4;`"},
    ),
    Mutant(
        "another architecture",
        {".target sm_80": ".target sm_90", ".version 7.0": ".version 8.0"},
        {"abi": r"compiled for sm_90, which does not run on portable"},
    ),
    Mutant(
        "an architecture of its own",
        {".target sm_80": ".target sm_90a", ".version 7.0": ".version 8.0"},
        {"abi": r"compiled for sm_90a, which does not run on sm_100"},
        arch="sm_100",
        isa="8.6",
    ),
    Mutant(
        "scratch memory through the hidden parameters",
        {
            ENTRY: "(.param .u64 .ptr x, .param .u32 n, .param .u64 .ptr y, .param .u64 .ptr g, .param .u64 .ptr p)",
            LOAD: f"{LOAD}\nld.param.u64 %rd6, [g];\nst.global.b32 [%rd6], %r5;",
        },
        {"abi": r"it uses g after the 3 parameters that TensorRT passes: Triton's scratch memory"},
    ),
    Mutant(
        "arguments swapped", {ENTRY: "(.param .u32 n, .param .u64 x, .param .u64 y)"}, {"abi": r"parameter 0 \(n\)"}
    ),
    Mutant(
        "one argument missing",
        {ENTRY: "(.param .u64 x, .param .u64 y)", "ld.param.u32 %r1, [n]": "mov.u32 %r1, 48"},
        {"abi": r"takes 2 parameters \(u64, u64\), TensorRT passes 3 \(ptr, i32, ptr\)"},
    ),
    Mutant(
        "one argument too many",
        {ENTRY: "(.param .u64 x, .param .u32 n, .param .u64 y, .param .u32 m)"},
        {"abi": r"takes 4 parameters \(u64, i32, u64, i32\), TensorRT passes 3"},
    ),
    Mutant("wrong type", {ENTRY: "(.param .u64 x, .param .f32 n, .param .u64 y)"}, {"abi": r"declared as f32"}),
    Mutant("a mangled name", {'return "copy"': 'return "_Z4copyPKfiPf"'}, {"abi": r"no kernel '_Z4copyPKfiPf'"}),
    Mutant("wrong block", {"launch.block_x = 64": "launch.block_x = 128"}, {"abi": r"blocks of \(64, 1, 1\) threads"}),
    Mutant(
        "a block larger than allowed",
        {".reqntid 64, 1, 1": ".maxntid 32, 1, 1"},
        {"abi": r"allows blocks of at most 32 threads, the launch has 64"},
    ),
    Mutant(
        "a block that changes with the shape",
        {"launch.block_x = 64": "launch.block_x = x.shape_expr[0]"},
        {"abi": r"compiled for blocks of \(64, 1, 1\) threads"},
    ),
    Mutant(
        "a block that grows beyond what is allowed",
        {".reqntid 64, 1, 1": ".maxntid 32, 1, 1", "launch.block_x = 64": "launch.block_x = x.shape_expr[0]"},
        {"abi": r"allows blocks of at most 32 threads"},
    ),
    Mutant(
        "clusters that a grid is no multiple of",
        {
            ".version 7.0": ".version 8.0",
            ".target sm_80": ".target sm_90",
            ".reqntid 64": ".reqnctapercluster 2\n.reqntid 64",
        },
        {"bounds": r"grid_x = .* is not a multiple of the cluster's 2 blocks"},
        arch="sm_90",
    ),
    Mutant("grid barrier", {LOAD: f"{LOAD}\nmov.u32 %r6, %envreg2;"}, {"abi": r"synchronises the whole grid"}),
    Mutant(
        "dynamic shared memory that it is not given",
        {
            ".visible .entry": ".extern .shared .align 16 .b8 s[];\n.visible .entry",
            LOAD: f"{LOAD}\nst.shared.b32 [s], %r5;",
        },
        {"abi": r"uses dynamic shared memory, but the launch gives it 0 bytes"},
    ),
    Mutant(
        "too much shared memory in all",
        {
            LOAD: f"{LOAD}\n.shared .b32 s[8192];\nst.shared.b32 [s], %r5;",
            "launch.block_x = 64": "launch.block_x = 64; launch.shared_mem = 16388",
        },
        {"abi": r"49156 bytes of shared memory, TensorRT's launcher gives at most 49152"},
    ),
    Mutant(
        "nothing written",
        {"st.global.b32 [%rd5], %r5;": "", "ld.param.u64 %rd2, [y];": "mov.u64 %rd2, 0;"},
        {"abi": r"never uses the pointer of output 0 \(parameter y\)"},
    ),
    Mutant(
        "int32 overflow at the largest shape",
        {"trtp.SymInt32(n)": "trtp.SymInt32(n * 1000000)"},
        {"bounds": r"extra argument 0 = N\*48000000 is 3072000000 at N=64: an extra argument is an int32"},
    ),
)


def outcome(good: str, mutant: Mutant | None, folder: Path) -> Built:
    """Build a good module, with a mutant's edits if there is one, and check it."""
    plugin, sources = edited(folder, MUTANTS / f"{good}.py", mutant.edits if mutant else {})
    names = ("a", "b") if good == "shifted_sub" else ("x",)
    made = network(plugin, *(tensor(n, "N=1/7/64 C=48") for n in names))
    return build(made, sources, archs=mutant.arch if mutant else "portable", isa=mutant.isa if mutant else "8.0")


@pytest.mark.parametrize("mutant", TRITON, ids=lambda m: m.name)
def test_mutant_of_a_triton_kernel_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    if "num_ctas" in str(mutant.edits) and tuple(int(n) for n in triton.__version__.split(".")[:2]) < (3, 7):
        pytest.skip("this Triton does not state the size of a cluster")
    caught(outcome("shifted_sub", mutant, tmp_path), mutant)


@pytest.mark.parametrize("mutant", PTX, ids=lambda m: m.name)
def test_mutant_of_a_ptx_kernel_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    caught(outcome("copy_ptx", mutant, tmp_path), mutant)


def caught(built: Built, mutant: Mutant) -> None:
    assert set(built.failed) == set(mutant.caught), built.found
    for name, pattern in mutant.caught.items():
        assert re.search(pattern, built.failed[name]), built.failed[name]


@pytest.mark.parametrize("good", ["shifted_sub", "copy_ptx"])
def test_the_good_plugin_passes(good: str, tmp_path: Path) -> None:
    built = outcome(good, None, tmp_path)
    statuses = {name: check.status for name, check in built.checks.items()}
    ran = "passed" if good == "shifted_sub" else "skipped"
    assert statuses == {"abi": "passed", "ptxas": "passed", "bounds": "passed", "interpreter": ran}, built.found
    if ran == "passed":
        assert built.checks["interpreter"].detail.startswith("against the reference, at small ")
