# SPDX-License-Identifier: Apache-2.0
"""Random damage for every reader in Python: whatever comes, it is read or refused in words, in time, in little memory.

    python scripts/fuzz.py --cases 100000 --seed 1      all readers, in turn
    python scripts/fuzz.py --only manifest --cases 1000
    python scripts/fuzz.py --only manifest --case 713   that case alone, with its traceback

Fails with the case that broke a reader (its seed makes it again). The C++ readers have fuzzers in tests/fuzz.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

SECONDS, MEGABYTES = 1.0, 200

Random = random.Random
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.0, 1.5, 2**31, 2**63, -(2**63) - 1, 2**80, 1e308, [], [[]], {}),
    *("", "x", "N", "nan", "\x1b[2J", "\ud800", "../../x", "x" * 5000),
    {"type": "S9999[]", "value": [1]},
    ["sum", "N", 1],
    ["prod", ["size_tensor", 0, 1, 2], 3],
)
BYTES = (b"\0", b"\xff", b"\x1b", *(bytes([c]) for c in b'[{"(-,\n'), b"9" * 40, b".entry ", b"/*", b"e999", b"inf")


def values(rng: Random, data: Any) -> Any:
    """JSON with one to three values replaced, removed, doubled or moved."""
    from attack_cases import at, places

    data = copy.deepcopy(data)
    for _ in range(rng.randint(1, 3)):
        found = list(places(data))
        if not found:
            return data
        place = rng.choice(found)
        holder, key = at(data, place[:-1]), place[-1]
        match rng.randrange(4):
            case 0:
                holder[key] = copy.deepcopy(rng.choice(VALUES))
            case 1:
                del holder[key]
            case 2 if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case _:
                holder[key] = copy.deepcopy(at(data, rng.choice(found)))
    return data


def damaged(rng: Random, content: bytes) -> bytes:
    """Bytes with one to four of them changed, cut, doubled or put in."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[place : place + rng.randrange(1, 40)]
            case 2:
                data[place:place] = rng.choice(BYTES) * rng.choice((1, 1, 3, 200))
            case 3:
                other = rng.randrange(len(data) + 1)
                data[place:place] = data[other : other + rng.randrange(1, 60)]
            case _:
                del data[place:]
    return bytes(data)


def written(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def as_json(rng: Random, data: Any) -> bytes:
    content = json.dumps(values(rng, data)).encode()
    return damaged(rng, content) if rng.random() < 0.2 else content


Reader = Callable[[Random, Path], Any]


def make_readers(folder: Path) -> dict[str, Reader]:
    """A reader of damaged data for each kind of it."""
    import attack_cases  # noqa: F401  (finds the tests' modules)
    import attack_onnx
    import fuzz_factory
    import test_npy
    import test_record_hostile
    import test_trtexec_hostile
    from test_bundle import made

    from aotfactory.api import tune
    from aotfactory.compiler import bundle as bundles
    from aotfactory.compiler.ptx import parse_module
    from aotfactory.core import expressions
    from aotfactory.executors.npy import load_npy
    from aotfactory.executors.trtexec import output
    from aotfactory.plan.plan_file import PlanFile

    bundles.write(made(), folder / "copy.aot")
    manifest, record = bundles.manifest(made()), test_record_hostile.record()
    tactics = [{"tactic": 1, "us": 2}]
    ranking = {"name": "c", "gpu": "g", "network": record["network"], "shapes": {"x": [2]}, "tactics": tactics}
    text = next(iter(made().variants)).text
    expression = ["ceil_div", ["prod", ["sum", "N", 2], ["max", "H", 7]], ["min", 64, ["sub", "W", 1]]]
    model = attack_onnx.alternating(2)
    profile = b'[{"count": 3}, {"name": "a", "timeMs": 1.5}]'

    def read_record(rng: Random, folder: Path) -> None:
        PlanFile.read(test_record_hostile.written(folder, as_json(rng, record)))

    def read_manifest(rng: Random, folder: Path) -> None:
        written(folder / "copy.aot", "manifest.json", as_json(rng, manifest))
        bundles.read(folder / "copy.aot")

    def read_ptx_file(rng: Random, folder: Path) -> None:
        parse_module(damaged(rng, text.encode()).decode(errors="replace"))

    def read_rankings(rng: Random, folder: Path) -> None:
        data = {"schema": "aotfactory.tuning/1", "rankings": [ranking]}
        tune.never_fastest(tune.read(written(folder, "x.tuning.json", as_json(rng, data))))

    def read_text(rng: Random, folder: Path) -> None:
        expressions.parse(damaged(rng, b"cdiv((N+2)*max(H, 7), min(64, W-1))//3 == 4").decode(errors="replace"))

    def read_exports(rng: Random, folder: Path) -> None:
        output.exported_profile(written(folder, "p.json", damaged(rng, profile)))

    def read_log(rng: Random, folder: Path) -> None:
        said = test_trtexec_hostile.summary() + "&&&& PASSED TensorRT.trtexec [TensorRT v110400]"
        log = damaged(rng, said.encode()).decode(errors="replace")
        output.verdict(log)
        output.errors(log)
        output.performance(log)

    return {
        "manifest": read_manifest,
        "record": read_record,
        "rankings": read_rankings,
        "ptx": read_ptx_file,
        "expression": lambda rng, folder: expressions.from_json(values(rng, {"e": expression}).get("e")),
        "expression text": read_text,
        "npy": lambda rng, folder: load_npy(written(folder, "x.npy", damaged(rng, test_npy.GOOD)), "fp32"),
        "trtexec export": read_exports,
        "trtexec log": read_log,
        "onnx": lambda rng, folder: attack_onnx.read(damaged(rng, model), folder),
        **fuzz_factory.readers(),
    }


def fuzz(cases: int, seed: int, only: str = "") -> list[str]:
    """What went wrong; at most ten."""
    from aotfactory.core.errors import AotError

    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        folder = Path(scratch)
        chosen = {name: run for name, run in make_readers(folder).items() if only in name}
        for run in chosen.values():  # what is loaded on first use is not the cases' memory
            with contextlib.suppress(AotError):
                run(Random(0), folder)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(cases):
            name = list(chosen)[number % len(chosen)]
            began = time.process_time()
            try:
                chosen[name](Random(f"{seed} {number}"), folder)
            except AotError as error:
                if not error.message:
                    wrong.append(f"{name}, seed {seed}, case {number}: refused without a word")
            except Exception as error:
                wrong.append(f"{name}, seed {seed}, case {number}: {type(error).__name__}: {error}"[:300])
            if (taken := time.process_time() - began) > SECONDS:
                wrong.append(f"{name}, seed {seed}, case {number}: took {taken:.1f} s")
            if len(wrong) >= 10:
                break
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) // 1024
        if grown > MEGABYTES:
            wrong.append(f"the cases took {grown} MB")
    return wrong


def repeat(number: int, seed: int, only: str = "") -> None:
    """One case again, as it was in a run with these options."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        folder = Path(scratch)
        chosen = {name: run for name, run in make_readers(folder).items() if only in name}
        chosen[list(chosen)[number % len(chosen)]](Random(f"{seed} {number}"), folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="readers with this in their name")
    parser.add_argument("--case", type=int, help="only this one, with its traceback")
    options = parser.parse_args()
    if options.case is not None:
        repeat(options.case, options.seed, options.only)
        return 0
    began = time.perf_counter()
    wrong = fuzz(options.cases, options.seed, options.only)
    print(*wrong, sep="\n")
    print(f"{options.cases} cases, {len(wrong)} broke a reader, {time.perf_counter() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
