# SPDX-License-Identifier: Apache-2.0
"""Farms: what is built, reused, left out after a mistake, and found again after a kill."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import Run
from small_definitions import SOURCE, changed

from aotfactory.api import farm as farming
from aotfactory.api import farm_ledger, farm_validate
from aotfactory.api.farm import run_farm, selected
from aotfactory.api.farm_file import Engine, FarmFile
from aotfactory.api.farm_ledger import Made
from aotfactory.api.farm_steps import Steps
from aotfactory.core.cache import Cache
from aotfactory.core.check import Check
from aotfactory.core.errors import CheckError, EngineError, UsageError

FARM = """
[defaults]
plugins = ["small.py"]
attr = { scale = 1 }

[[engine]]
target = "farm::copy"
shape = ["1x64", "2x64", { min = "1x64", max = "8x64" }]
arch = ["sm_80", "sm_90"]
"""


class Farm:
    """A farm of small engines in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, Cache(folder / "cache")
        (folder / "small.py").write_text(SOURCE.replace("NS::", "farm::"))
        (folder / "farm.toml").write_text(FARM)

    @property
    def out(self) -> Path:
        return self.folder / "engines"

    def run(self, only: tuple[str, ...] = (), **options: Any) -> dict[str, str]:
        file = FarmFile(self.folder / "farm.toml")
        options = {"out": file.out, "cache": self.cache, "jobs": 2, **options}
        return {made.engine.name: made.status for made in run_farm(selected(file, only), **options).made}

    def bundles(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.out)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.out.glob("*.aot/*"))
        }

    def command(self, *more: str) -> subprocess.Popen[str]:
        heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        return subprocess.Popen(
            [sys.executable, "-c", f"{heed}; from aotfactory.cli.main import main; main()", "farm", "farm.toml", *more],
            cwd=self.folder,
            env={**os.environ, "AOTFACTORY_NO_CACHE": "", "AOTFACTORY_CACHE": str(self.folder / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(tmp_path)


NAMES = [f"copy.{shape}.{arch}" for shape in ("1x64", "2x64", "1x64-8x64") for arch in ("sm_80", "sm_90")]


def test_everything_once_and_then_nothing(farm: Farm) -> None:
    assert farm.run() == dict.fromkeys(NAMES, "built")
    files = farm.bundles()
    assert farm.run() == dict.fromkeys(NAMES, "cached")
    assert farm.bundles() == files
    index = json.loads((farm.out / "index.json").read_text())["engines"]
    assert sorted(index) == sorted(NAMES)
    assert index["copy.1x64-8x64.sm_90"]["inputs"] == {"inp0": ["fp32", "1..8x64"]}
    shutil.rmtree(farm.out)
    assert farm.run(jobs=1) == dict.fromkeys(NAMES, "cached")
    assert farm.bundles() == files


def test_same_bytes_without_a_cache_and_for_any_number_of_jobs(farm: Farm) -> None:
    farm.run()
    files = farm.bundles()
    shutil.rmtree(farm.out)
    assert farm.run(cache=None, jobs=1) == dict.fromkeys(NAMES, "built")
    assert farm.bundles() == files


def test_why_an_engine_was_built(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the calling program has loaded counts as read, as a definition may use it: nobody would guess that."""
    (farm.folder / "of_the_caller.py").write_text("a = 1")
    monkeypatch.syspath_prepend(str(farm.folder))
    importlib.import_module("of_the_caller")
    name = NAMES[0]

    def because() -> Any:
        farm.run(only=(name,))
        return json.loads((farm.out / farm_ledger.STATE).read_text())["engines"][name].get("because")

    try:
        assert [because(), because()] == ["not in the cache", None]
        (farm.folder / "of_the_caller.py").write_text("a = 2")
        assert because() == f"{farm.folder / 'of_the_caller.py'} has changed"
        (farm.folder / "small.py").write_text((farm.folder / "small.py").read_text() + "# more\n")
        assert because() == f"{farm.folder / 'small.py'} has changed"
    finally:
        del sys.modules["of_the_caller"]


def test_validation_takes_a_gpu(farm: Farm, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(farm.folder)
    done = run("farm", "farm.toml", "--validate")
    assert (done.code, "this machine has none" in done.err) == (3, True)
    assert not farm.out.exists()
    monkeypatch.setattr(farm_validate, "compute_capability", lambda: 80)  # where the command itself finds none
    found = farm.run(("copy.1x64.*",), keep_going=True, validate=farm_validate.required())
    assert found == {"copy.1x64.sm_80": "error", "copy.1x64.sm_90": "built"}
    state = json.loads((farm.out / farm_ledger.STATE).read_text())["engines"]
    assert "it was not validated: launcher is required" in state["copy.1x64.sm_80"]["error"]["message"]
    report = json.loads((farm.out / "copy.1x64.sm_90.build.json").read_text())
    assert report["checks"][-1]["detail"] == "the GPU here is sm_80"


class Elsewhere:
    """A step that is done when it is told to be."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log, self.done, self.wrong = name, log, False, False

    def ready(self) -> bool:
        return self.done

    def result(self) -> list[Check]:
        self.log.append(f"{self.name} home")
        if self.wrong:
            raise EngineError("lost")
        return []

    def cancel(self) -> None:
        self.log.append(f"{self.name} cancelled")


def test_steps_elsewhere_are_all_under_way_at_once(farm: Farm) -> None:
    engines, log = FarmFile(farm.folder / "farm.toml").engines[:4], []
    under_way = {engine.name: Elsewhere(engine.name, log) for engine in engines}
    told: list[Made] = []
    steps = Steps(
        farm.out, [None, lambda bundle, e: under_way[e.name]], told.append, lambda: bool(told and told[-1].error)
    )
    first, second, third, fourth = (Made(engine=engine, status="built") for engine in engines)
    for made in (first, second, third):
        steps.begin(made)
    assert (told, log) == ([], [])
    under_way[second.engine.name].done = True
    steps.settle()
    assert told == []  # the one before it decides first
    under_way[first.engine.name].done = True
    steps.begin(fourth)
    assert told == [first, second]
    under_way[third.engine.name].wrong = True
    steps.settle(wait=True)
    assert [(made.status, str(made.error)) for made in told[2:]] == [("error", "lost")]
    steps.cancel()
    names = [engine.name for engine in engines]
    assert log == [f"{name} home" for name in names[:3]] + [f"{names[3]} cancelled"]


def test_engines_that_differ_in_their_plan_alone_are_built_once(farm: Farm) -> None:
    with open(farm.folder / "farm.toml", "a") as file:
        file.write("tensorrt = [{ optimization-level = 1 }, { optimization-level = 5 }]\n")
    baked: list[tuple[str, Any]] = []

    def bake(bundle: Path, engine: Engine) -> None:
        baked.append((bundle.name, engine.tensorrt["optimization-level"]))

    found = farm.run(bake=bake, only=("copy.1x64.sm_80*",))
    assert sorted(found.values()) == ["built", "cached"]
    assert sorted(baked) == [(f"copy.1x64.sm_80.optimization-level-{n}.aot", n) for n in (1, 5)]


def test_mistakes(farm: Farm) -> None:
    (farm.folder / "bad.py").write_text(changed("block_x=64", "block_x=32").replace("NS::", "bad::"))
    with open(farm.folder / "farm.toml", "a") as file:
        file.write(
            '[[engine]]\ntarget = "bad::copy"\nname = "bad"\nplugins = ["bad.py"]\nshape = "1x64"\narch = "sm_80"\n'
        )
        file.write('[[engine]]\ntarget = "no::such"\nname = "none"\nshape = "1x64"\narch = "sm_80"\n')
    found = farm.run(keep_going=True)
    assert found == {**dict.fromkeys(NAMES, "built"), "bad": "failed", "none": "error"}
    state = json.loads((farm.out / "farm.json").read_text())["engines"]
    assert "abi of copy.sm_80" in state["bad"]["error"]["message"]
    assert not (farm.out / "bad.aot").exists()
    (farm.folder / "small.py").write_text("import nothing_of_this_name\n")
    stopped = farm.run(jobs=1)
    assert list(stopped.values()).count("error") == 1
    assert list(stopped.values()).count("not begun") == len(stopped) - 1


def test_a_plan_that_fails_is_an_error(farm: Farm) -> None:
    def bake(bundle: Path, engine: Engine) -> None:
        raise CheckError("no plan")

    assert set(farm.run(bake=bake, keep_going=True).values()) == {"error"}


def test_a_process_that_dies_is_an_error_of_its_engine(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farming, "attempt", lambda *given: os._exit(3))
    assert farm.run(only=(NAMES[0],)) == {NAMES[0]: "error"}


def test_only_what_exists(farm: Farm) -> None:
    assert list(farm.run(only=("*8x64.sm_90",))) == ["copy.1x64-8x64.sm_90"]
    with pytest.raises(UsageError, match="--only nothing matches no engine"):
        farm.run(only=("nothing",))


def test_command_line(farm: Farm, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(farm.folder)
    monkeypatch.setenv("AOTFACTORY_NO_CACHE", "0")
    monkeypatch.setenv("AOTFACTORY_CACHE", str(farm.folder / "cache"))
    done = run("farm", "farm.toml", "--dry-run")
    assert (done.code, done.out.count("to build (not in the cache)\n")) == (0, 6)
    assert done.out.endswith("6 engines: 0 cached, 6 to build, which takes: unknown\n")
    assert not farm.out.exists()
    done = run("farm", "farm.toml", "--only", "copy.1x64.*")
    assert done.code == 0
    assert "2/2 copy.1x64.sm_" in done.err
    assert "2 engines in" in done.out
    assert "2 built; they are in engines" in done.out
    done = run("farm", "farm.toml", "--dry-run", "--format", "json")
    plan = json.loads(done.out)
    assert [e["cached"] for e in plan["engines"]] == [True, True, False, False, False, False]
    assert (plan["to_build"], plan["seconds"] > 0) == (4, True)
    done = run("farm", "farm.toml", "--format", "json")
    assert json.loads(done.out)["counts"] == {"cached": 2, "built": 4}
    assert run("farm", "none.toml").code == 2


def test_killed_at_any_moment_it_goes_on(farm: Farm) -> None:
    for seed in range(4):
        process = farm.command("--jobs", "2")
        time.sleep(random.Random(seed).uniform(0.3, 2.5))
        process.kill()
        process.communicate()
        if farm.out.exists():
            assert not [p for p in farm.out.glob("*.aot/manifest.json") if not json.loads(p.read_text())]
    assert farm.cache.verify()[1] == []
    process = farm.command()
    _, said = process.communicate()
    assert process.returncode == 0, said
    files = farm.bundles()
    shutil.rmtree(farm.out)
    farm.run(cache=None)
    assert farm.bundles() == files


def test_ctrl_c(farm: Farm) -> None:
    process = farm.command("--no-cache", "--jobs", "1")
    assert process.stderr is not None
    process.stderr.readline()  # until the first engine is done
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said.splitlines()[-1]) == (130, "interrupted")
