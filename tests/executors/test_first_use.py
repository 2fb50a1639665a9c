# SPDX-License-Identifier: Apache-2.0
"""The first use of a program that is not built yet: what is told before and while it is built, and how to stop it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import launcher_bundles as bundles
import pytest

from aotfactory.core import cuda
from aotfactory.core.errors import MissingError, UsageError
from aotfactory.executors.native.cmake import ProgramBuild
from aotfactory.executors.native.launcher import run_launcher

BUILD = """
import signal, sys
from pathlib import Path
from aotfactory.executors.native.launcher import build_launcher
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the parent ignores it
build_launcher(cache=Path(sys.argv[1]))
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with a compiler and a CMake whose build writes its process ID to `building`, and takes for ever."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "c++": "echo c++ 1.0",
        "make": "",
        "cmake": f'[ "$1" = -S ] && exit 0\necho "[ 50%] Building"\nsleep 600 &\necho $! > {tmp_path}/building\nwait',
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def nothing_built(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a launcher nor, until the test ends, a way to build one."""
    monkeypatch.delenv("AOTFACTORY_LAUNCHER", raising=False)
    monkeypatch.setenv("AOTFACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)

    def run(self: ProgramBuild) -> Path:
        raise AssertionError("it is being built")

    monkeypatch.setattr(ProgramBuild, "run", run)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_until(true: Any, what: str) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    pytest.fail(f"not within 30 s: {what}")


def test_ctrl_c_ends_the_compiler(tools: Path, tmp_path: Path) -> None:
    building, cache = tmp_path / "building", tmp_path / "cache"
    env = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "AOTFACTORY_LAUNCHER": ""}
    command = [sys.executable, "-c", BUILD, str(cache)]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: building.exists() and building.read_text().strip(), "the build starts")
    pid = int(building.read_text())
    assert alive(pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    wait_until(lambda: not alive(pid), "the compiler ends")
    assert re.match(r"building aotfactory-launcher: once only, about a minute\n\+ .*cmake -S", said)
    assert "c++ --version" not in said
    assert list((cache / "launcher").iterdir()) == []


def test_one_process_builds_and_the_others_wait(tools: Path, tmp_path: Path) -> None:
    (tools / "cmake").write_text(
        f"""#!/bin/sh
        case "$1" in
            -S) for word; do case "$word" in *INSTALL_PREFIX=*) echo "${{word#*=}}" > {tmp_path}/prefix ;; esac; done ;;
            --build) echo built >> {tmp_path}/builds; sleep 2 ;;
            --install) prefix=$(cat {tmp_path}/prefix); mkdir -p "$prefix/bin"
                echo "#!/bin/sh" > "$prefix/bin/aotfactory-launcher" ;;
        esac
        """
    )
    env = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "AOTFACTORY_LAUNCHER": ""}
    command = [sys.executable, "-c", BUILD, str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert (tmp_path / "builds").read_text() == "built\n"
    assert "waiting for another process, which builds aotfactory-launcher" in "".join(said)


@pytest.mark.usefixtures("nothing_built")
class TestBeforeBuilding:
    def test_a_missing_driver_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cuda, "open_driver", lambda: None)
        with pytest.raises(MissingError, match="no CUDA driver on this machine"):
            run_launcher(bundles.write(tmp_path / "bundle", own_bundle()))

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ({"z": (5, 8)}, "has no input 'z'"),
            ({"x": (5,)}, "input 'x' has 2 dimensions"),
            ({"x": (5, 7)}, r"input 'x' must have shape \(5, 8\), not \(5, 7\)"),
            ({"x": (5000, 8)}, "dimension N = 5000 is not within the profile's 0 to 4096"),
        ],
    )
    def test_a_wrong_shape_is_told(self, tmp_path: Path, shape: dict[str, tuple[int, ...]], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            run_launcher(bundles.write(tmp_path / "bundle", own_bundle()), shapes=shape, dry_run=True)

    def test_what_is_right_is_built_for(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError, match="it is being built"):
            run_launcher(bundles.write(tmp_path / "bundle", own_bundle()), shapes={"x": (5, 8)}, dry_run=True)


def own_bundle() -> dict[str, Any]:
    """With a PTX file named as aotfactory names it, which its reader wants."""
    variant = bundles.variant(plugin="test::copy")
    variant["ptx"] = f"{variant['id']}.{variant['sha256'][:8]}.ptx"
    return bundles.manifest(variant)
