# SPDX-License-Identifier: Apache-2.0
"""How fast the factory is, and whether it holds: each part prints one JSON object, with the machine and the date.

    python scripts/bench_factory.py start --repeat 5
    python scripts/bench_factory.py library --table --archs sm_80,sm_90 --recipes circ_pad,softmax,rms_norm
    python scripts/bench_factory.py library --table --repeat 1
    python scripts/bench_factory.py scale --engines 10,100,1000,10000
    python scripts/bench_factory.py crowd
    python scripts/bench_factory.py kills --times 100

`start`: a cached build against the bare load of Triton and TensorRT. `library`: cold with one process and with two,
against a plain loop over triton.compile of the same kernels, warm, and with one kernel touched; without the interpreter
check. CPU seconds include those of child processes; seconds on the clock mean little where others use the machine. By
default that is the whole library for seven architectures.
`scale`: engines that share ten builds and differ in their plan, which is simulated. `crowd`: 16 processes, one cache,
one directory. `kills`: kill -9 of a farm at random moments.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from small_definitions import SOURCE  # noqa: E402

sys.modules.pop("small_definitions")  # what a caller has loaded counts as read by its definitions

from aotfactory.api import report_formats  # noqa: E402
from aotfactory.api.farm import run_farm  # noqa: E402
from aotfactory.api.farm_file import Engine, FarmFile  # noqa: E402
from aotfactory.api.report import gather  # noqa: E402
from aotfactory.core.cache import Cache  # noqa: E402
from aotfactory.plugins.catalog import shipped  # noqa: E402

SEVEN = "sm_75,sm_80,sm_86,sm_89,sm_90,sm_100,sm_120"

LISTED = """
import sys
from aotfactory.plugins.catalog import Catalog
for file in sys.argv[1:]:
    print(*(f"{file}:{name}" for name in Catalog([file]).recipes))
"""

BUILD = """
import os, sys
from pathlib import Path
from aotfactory.api.build import build_bundle
from aotfactory.compiler.options import Options
from aotfactory.core.arch import parse_archs
from aotfactory.core.cache import Cache
from aotfactory.targets.request import TargetOptions
cache, out, archs, jobs, *recipes = sys.argv[1:]
for file, recipe in (item.split(":") for item in recipes):
    build_bundle(recipe, request=TargetOptions(), options=Options(archs=parse_archs(archs)), out=Path(out),
                 plain=True, plugins=[file], interpret=False, cache=Cache(Path(cache)), jobs=int(jobs))
print(sum(os.times()[:2]))
"""

PLAIN = """
import os, sys, triton
inside = 0.0
def timed(compile):
    def wrapper(*args, **options):
        global inside
        before = sum(os.times()[:4])
        result = compile(*args, **options)
        inside += sum(os.times()[:4]) - before
        return result
    return wrapper
triton.compile = timed(triton.compile)
from aotfactory.compiler import ptxas
from aotfactory.compiler.compile import _wanted
from aotfactory.compiler.cross_compile import compiling_for
from aotfactory.compiler.options import Options
from aotfactory.core.arch import default_isa, parse_archs, shared_limit
from aotfactory.plugins.catalog import Catalog
from aotfactory.plugins.clusters import left_out
from aotfactory.targets.network_builder import plugin_call
from aotfactory.targets.request import TargetOptions
from aotfactory.targets.resolve import resolve
archs, *recipes = sys.argv[1:]
for file, recipe in (item.split(":") for item in recipes):
    network = resolve(recipe, Catalog([file]), TargetOptions())
    for call in network.calls:
        for arch in parse_archs(archs):
            plugin = plugin_call(network, call)
            isa = min(default_isa(arch), ptxas.compiler_isa(arch)).number
            with compiling_for(arch.capability, isa, shared_limit(arch, "aot")):
                with left_out():
                    wanted = list(_wanted(plugin, call, Options(archs=(arch,))))
                for combination, tactic in wanted:
                    plugin.kernel(combination, tactic)
print(inside)
"""


def measured(program: str, *arguments: object, **variables: str) -> tuple[float, float, str]:
    """Run a program in a process of its own: seconds on the clock, CPU seconds, what it printed."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-c", program, *map(str, arguments)]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths, **variables}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - started, cpu, done.stdout


def library(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    kernels = Path(shutil.copytree(ROOT / "kernels", folder / "kernels"))
    chosen = options.recipes.split(",") if options.recipes else shipped()
    for path in kernels.glob("*.py"):  # a copy, one kernel of which is going to be touched
        path.write_text(re.sub(r'name=(f?")(?=[\w{}]+",\s+plugin=)', r"name=\1bench_", path.read_text()))
    recipes = measured(LISTED, *(kernels / f"{name}.py" for name in chosen))[2].split()
    times: dict[str, list[tuple[float, float]]] = {}
    alone: list[float] = []

    def build(name: str, jobs: int, cache: str, run: int = 0) -> None:
        triton = {"TRITON_CACHE_DIR": str(folder / f"triton-{name}-{run}")}
        clock, cpu, printed = measured(
            BUILD, folder / cache, folder / f"out-{name}", options.archs, jobs, *recipes, **triton
        )
        times.setdefault(name, []).append((clock, cpu))
        if jobs > 1:
            alone.append(float(printed))

    kept, same = "", True
    for run in range(options.repeat):  # in turn, so that what else the machine does bears on all alike
        kept = f"cache-1-{run}"
        build("cold_1", 1, kept, run)
        build("cold_2", 2, f"cache-2-{run}", run)
        triton = {"TRITON_CACHE_DIR": str(folder / f"triton-plain-{run}")}
        clock, cpu, printed = measured(PLAIN, options.archs, *recipes, **triton)
        times.setdefault("plain_program", []).append((clock, cpu))
        times.setdefault("plain", []).append((clock, float(printed)))
        build("warm", 1, kept, run)
        cold = files(folder / "out-cold_1")
        same = same and cold == files(folder / "out-cold_2") == files(folder / "out-warm")
    before = Counter(entry.kind for entry in Cache(folder / kept).entries())
    text = (kernels / f"{chosen[0]}.py").read_text()
    (kernels / f"{chosen[0]}.py").write_text(text.replace("tl.program_id(0)", "tl.program_id(0) + 0", 1))
    build("touched", 1, kept)
    after = Counter(entry.kind for entry in Cache(folder / kept).entries())
    clock, cpu = ({name: statistics.median(p[i] for p in pairs) for name, pairs in times.items()} for i in (0, 1))
    serial = statistics.median(alone)
    return {
        "recipes": len(recipes),
        "archs": options.archs,
        "variants": before["variant"],
        "same_bytes": same,
        "seconds": {name: [round(c, 1) for c, _ in pairs] for name, pairs in times.items()},
        "cpu_seconds": {name: [round(c, 2) for _, c in pairs] for name, pairs in times.items()},
        "new_variants": (after - before)["variant"],
        "two_jobs_against_one": round(clock["cold_1"] / clock["cold_2"], 2),
        "cpu_of_two_jobs_against_one": round(cpu["cold_2"] / cpu["cold_1"], 2),
        "cpu_outside_of_the_two": round(serial, 2),
        "two_jobs_by_cpu": round(cpu["cold_1"] / (serial + (cpu["cold_2"] - serial) / 2), 2),
        "cpu_against_plain": round(cpu["cold_1"] / cpu["plain"], 2),
        "cpu_against_plain_program": round(cpu["cold_1"] / cpu["plain_program"], 2),
        "warm_of_cold": round(cpu["warm"] / cpu["cold_1"], 3),
    }


def library_table(found: dict[str, Any]) -> str:
    """The same as Markdown."""
    names = {
        "cold_1": "cold, one job",
        "cold_2": "cold, two jobs",
        "plain": "plain loop, inside of `triton.compile` alone",
        "plain_program": "plain loop, the whole program",
        "warm": "warm",
        "touched": f"one kernel touched ({found['new_variants']} variants made again)",
    }
    what = f"{found['recipes']} recipes for {found['archs']}, {found['variants']} variants"
    lines = [
        f"{found['date']}, {found['machine']}: {what}, same bytes: {found['same_bytes']}",
        "",
        "| medians | seconds on the clock | CPU seconds |",
        "|---|---:|---:|",
    ]
    for name, text in names.items():
        clock = "" if name == "plain" else f"{statistics.median(found['seconds'][name]):.1f}"
        lines.append(f"| {text} | {clock} | {statistics.median(found['cpu_seconds'][name]):.2f} |")
    lines += ["", "| ratio | found | aim |", "|---|---:|---:|"]
    for name, text, aim in (
        ("two_jobs_against_one", "one job's time to two jobs'", "1.8 or more"),
        ("two_jobs_by_cpu", "the same, from CPU seconds: what is left alone, and half of the rest", ""),
        ("cpu_against_plain", "CPU of one job to the plain loop's, inside of `triton.compile`", "1.15 or less"),
        ("cpu_against_plain_program", "CPU of one job to the plain loop's, whole programs", ""),
        ("warm_of_cold", "CPU warm to cold", "0.04 or less"),
    ):
        lines.append(f"| {text} | {found[name]} | {aim} |")
    return "\n".join(lines)


BARE = "import triton; from aotfactory.plugins import tensorrt_api; tensorrt_api.load()"
VERB = "import aotfactory; aotfactory.compile('circ_pad', arch='sm_80', out='engines')"


def start(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A build of which nothing has changed, against loading Triton and TensorRT alone; in turn, CPU seconds."""
    command = "import sys; from aotfactory.cli.main import main; sys.argv[1:] = {}; main()"
    asked = ["compile", "circ_pad", "--arch", "sm_80", "--out", "engines"]
    programs = {
        "bare": BARE,
        "text": command.format(asked),
        "json": command.format([*asked, "--format", "json"]),
        "python": VERB,
    }
    os.chdir(folder)
    cpu: dict[str, list[float]] = {}
    for run in range(options.repeat + 1):
        for name, program in programs.items():
            taken = measured(program, AOTFACTORY_CACHE=str(folder / "cache"), AOTFACTORY_NO_CACHE="")[1]
            cpu.setdefault(name, []).extend([taken] * bool(run))  # the first fills the cache, and writes bytecode
    medians = {name: statistics.median(found) for name, found in cpu.items()}
    of_bare = {name: round(value / medians["bare"], 2) for name, value in medians.items()}
    return {"typer": version("typer"), "cpu_seconds": medians, "of_bare": of_bare}


def files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of the bundles in a directory."""
    bundles = sorted(folder.glob("*.aot/*"))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in bundles}


def small_farm(folder: Path, engines: int) -> Path:
    """A farm.toml of this many engines, of ten builds, that differ in their plans' workspace."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.py").write_text(SOURCE.replace("NS::", "bench::"))
    shapes = [f'"{n}x64"' for n in range(1, 11)]
    options = [f"{{ workspace = {n} }}" for n in range(engines // 10)]
    (folder / "farm.toml").write_text(
        '[[engine]]\ntarget = "bench::copy"\nplugins = ["small.py"]\nattr = { scale = 1 }\narch = "sm_80"\n'
        f"shape = [{', '.join(shapes)}]\ntensorrt = [{', '.join(options)}]\n"
    )
    return folder / "farm.toml"


def scale(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    def simulated(bundle: Path, engine: Engine) -> None:
        bundle.with_suffix(".plan").write_bytes(json.dumps(dict(engine.tensorrt)).encode())

    found: dict[str, Any] = {}
    for count in map(int, options.engines.split(",")):
        here = folder / str(count)
        farm = FarmFile(small_farm(here, count))
        seconds = []
        for _ in range(2):
            started = time.monotonic()
            result = run_farm(farm.engines, out=farm.out, cache=Cache(here / "cache"), jobs=2, bake=simulated)
            seconds.append(round(time.monotonic() - started, 2))
        started = time.monotonic()
        page = report_formats.html(gather(farm.out))
        found[str(count)] = {
            "cold_seconds": seconds[0],
            "warm_seconds": seconds[1],
            "warm": dict(result.counts),
            "report_seconds": round(time.monotonic() - started, 2),
            "report_megabytes": round(len(page) / 1e6, 2),
            "index_megabytes": round((farm.out / "index.json").stat().st_size / 1e6, 2),
            "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
    return found


def crowd(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """16 processes: eight of one target, eight of targets of their own."""
    small_farm(folder, 10)
    environment = {**os.environ, "AOTFACTORY_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "aotfactory",
        "compile",
        "bench::copy",
        "--plugins",
        "small.py",
        "--attr",
        "scale=1",
    ]
    command += ["--arch", "sm_80,sm_90"]
    quiet = {"cwd": folder, "env": environment, "stdout": subprocess.DEVNULL}
    own = [["--shape", f"{n}x64", "--name", f"own_{n}"] for n in range(1, 9)]
    started = [
        subprocess.Popen([*command, *more], **quiet) for more in [["--shape", "5x64", "--name", "same"]] * 8 + own
    ]
    codes = [process.wait() for process in started]
    together = files(folder / "engines")
    shutil.rmtree(folder / "engines")
    for more in [["--shape", "5x64", "--name", "same"], *own]:
        subprocess.run(
            [*command, *more, "--no-cache"], cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True
        )
    whole, damaged = Cache(folder / "cache").verify()
    alone = files(folder / "engines")
    return {
        "codes": sorted(set(codes)),
        "identical": together == alone,
        "files": len(alone),
        "entries": whole,
        "damaged": len(damaged),
    }


def kills(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    farm, rng = small_farm(folder, 50), random.Random(options.seed)
    environment = {**os.environ, "AOTFACTORY_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "aotfactory", "farm", farm.name, "--engine", "bundle"]
    quiet = {"cwd": folder, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    damaged = killed = 0
    for _ in range(options.times):
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(rng.uniform(0.2, options.longest))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
        damaged += len(Cache(folder / "cache").verify()[1])
        for path in folder.glob("engines/*.aot/manifest.json"):
            variants = json.loads(path.read_text())["variants"]
            named = ((path.parent / v["ptx"], v["sha256"]) for v in variants)
            damaged += sum(hashlib.sha256(ptx.read_bytes()).hexdigest() != digest for ptx, digest in named)
        for path in folder.glob("engines/*.json"):
            json.loads(path.read_text())
        if rng.random() < 0.3:  # begin anew, or there would soon be nothing left to interrupt
            shutil.rmtree(folder / rng.choice(["engines", "cache"]), ignore_errors=True)
    done = subprocess.run(command, **quiet)
    resumed = files(folder / "engines")
    shutil.rmtree(folder / "engines")
    subprocess.run([*command, "--no-cache"], cwd=folder, env=environment, capture_output=True, check=True)
    whole = resumed == files(folder / "engines")
    return {
        "runs": options.times,
        "killed": killed,
        "damaged": damaged,
        "last_code": done.returncode,
        "identical": whole,
    }


PARTS: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "start": start,
    "library": library,
    "scale": scale,
    "crowd": crowd,
    "kills": kills,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--table", action="store_true", help="of library: as Markdown")
    parser.add_argument("--archs", default=SEVEN)
    parser.add_argument("--recipes", default="", help="names, with commas; default: all that ship")
    parser.add_argument("--engines", default="10,100,1000,10000")
    parser.add_argument("--repeat", type=int, default=3, help="runs of start and library, of which the median counts")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--longest", type=float, default=4.0, help="seconds after which a farm is killed at the latest")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    with tempfile.TemporaryDirectory(prefix="aotfactory-bench-") as folder:
        found = PARTS[options.part](options, Path(folder))
    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    found = {"part": options.part, "date": time.strftime("%Y-%m-%d"), "machine": machine, **found}
    print(library_table(found) if options.table and options.part == "library" else json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
