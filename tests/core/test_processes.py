# SPDX-License-Identifier: Apache-2.0
"""Programs end with their caller, whatever ends it; nothing of them is left, nor of their temporary files."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aotfactory.core import processes
from aotfactory.core.errors import OutOfTimeError, OutputError
from aotfactory.core.processes import Ended, ending_orderly, run_program

CALLER = """
import sys, tempfile
from pathlib import Path
from aotfactory.core import processes
from aotfactory.core.errors import CheckError
from aotfactory.core.processes import Ended, ending_orderly, run_program
try:
    with ending_orderly(), tempfile.TemporaryDirectory(dir=sys.argv[1]) as scratch:
        script = f"echo $$ >> {sys.argv[1]}/pids; (echo $BASHPID >> {sys.argv[1]}/pids; sleep 60) & wait"
        run_program(["bash", "-c", script], timeout=60, family=sys.argv[2] == "family")
except Ended as error:
    sys.exit(error.exit_code)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition: object, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[list[int]]:
    found: list[int] = []
    yield found
    for pid in found:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (signal.SIGTERM, "alone"),
        (signal.SIGHUP, "alone"),
        (signal.SIGINT, "alone"),
        (signal.SIGKILL, "family"),
        (signal.SIGTERM, "family"),
    ],
)
def test_nothing_outlives_the_caller(number: signal.Signals, kind: str, tmp_path: Path, pids: list[int]) -> None:
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, tmp_path, kind],
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    listed = tmp_path / "pids"
    assert until(lambda: listed.is_file() and len(listed.read_text().split()) == 2)
    pids += map(int, listed.read_text().split())
    caller.send_signal(number)
    code = caller.wait(timeout=20)
    assert until(lambda: not any(map(alive, pids))), [pid for pid in pids if alive(pid)]
    if number is not signal.SIGKILL:
        assert [path.name for path in tmp_path.iterdir()] == ["pids"]
    if number in (signal.SIGTERM, signal.SIGHUP):
        assert code == 128 + number


@pytest.fixture(params=["setpriv", "no setpriv"])
def setpriv(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[bool]:
    """With util-linux' setpriv on the PATH, and without."""
    if request.param == "no setpriv":
        (tmp_path / "bin").mkdir()
        for name in ("sh", "sleep", "true", "cat"):
            (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    elif not shutil.which("setpriv"):
        pytest.skip("no setpriv here")
    processes._with_us.cache_clear()
    assert bool(processes._with_us()) == (request.param == "setpriv")
    yield request.param == "setpriv"
    processes._with_us.cache_clear()


def test_a_leaf(setpriv: bool) -> None:
    done = run_program(["sh", "-c", "echo out; echo err >&2; cat; exit 7"], timeout=20, leaf=True, text="in")
    assert (done.code, done.stdout, done.stderr) == (7, "out\nin", "err\n")
    assert run_program(["sh", "-c", "kill -SEGV $$"], timeout=20, leaf=True).code == -signal.SIGSEGV
    with pytest.raises(OutOfTimeError):
        run_program(["sleep", "60"], timeout=0.2, leaf=True)
    for wrong in ("no-such-program", "/no/such/program"):
        with pytest.raises(FileNotFoundError):
            run_program([wrong], timeout=20, leaf=True)


@pytest.mark.parametrize("leaf", [False, True])
def test_a_program_alone_ends_even_with_a_killed_caller(leaf: bool, tmp_path: Path, pids: list[int]) -> None:
    script = (
        "import sys; from aotfactory.core.processes import run_program;"
        "run_program([sys.executable, '-c', f'import os, time; open({sys.argv[1]!r}, \"w\").write(str(os.getpid()));"
        f" time.sleep(60)'], timeout=60, leaf={leaf})"
    )
    caller = subprocess.Popen([sys.executable, "-c", script, tmp_path / "pid"])
    assert until(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text())
    pids.append(int((tmp_path / "pid").read_text()))
    caller.kill()
    caller.wait(timeout=20)
    assert until(lambda: not alive(pids[0]))


def test_one_that_takes_too_long_is_ended_with_its_family(tmp_path: Path, pids: list[int]) -> None:
    script = f"echo said; sleep 60 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(OutOfTimeError, match="stopped after") as caught:
        run_program(["bash", "-c", script], timeout=1, family=True)
    assert caught.value.output == "said\n"
    pids.append(int((tmp_path / "pid").read_text()))
    assert until(lambda: not alive(pids[0]))


def test_what_is_left_of_a_family_ends_with_the_call(tmp_path: Path, pids: list[int]) -> None:
    done = run_program(["bash", "-c", f"sleep 60 >/dev/null 2>&1 & echo $! > {tmp_path}/pid"], timeout=20, family=True)
    assert done.code == 0
    pids.append(int((tmp_path / "pid").read_text()))
    assert until(lambda: not alive(pids[0]))


@pytest.mark.parametrize("family", [False, True])
@pytest.mark.parametrize("background", ["sleep 60", "yes no | head -c 100; sleep 60", "trap '' HUP TERM; sleep 60"])
def test_what_it_started_keeps_nobody_waiting(background: str, family: bool, tmp_path: Path, pids: list[int]) -> None:
    """As a compiler's server does, it has inherited the outputs, and stays."""
    script = f"({background}) & echo $! > {tmp_path}/pid; sleep 0.2; echo said; exit 3"
    started = time.monotonic()
    done = run_program(["bash", "-c", script], timeout=20, family=family)
    assert time.monotonic() - started < 15
    assert (done.code, done.stdout.replace("no\n", "").replace("n", "")) == (3, "said\n")
    pids.append(int((tmp_path / "pid").read_text()))
    assert until(lambda: not alive(pids[0]))


def test_all_that_it_said_before_it_ended_is_there() -> None:
    script = "sleep 60 & exec head -c 60000 /dev/zero"
    done = run_program(["bash", "-c", script], timeout=20)
    assert len(done.stdout) == 60000


def test_exit_codes_where_the_caller_was_started_with_sigchld_ignored() -> None:
    """Then the system keeps none, and Python makes 0 of that: every check of ptxas would pass."""
    script = (
        "from aotfactory.core.processes import run_program; from aotfactory.core.workers import run_all;"
        "print(run_program(['false'], timeout=20).code, run_all([lambda: 1, lambda: 2], 2))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    )
    assert (done.stdout, done.stderr) == ("1 [1, 2]\n", "")


@pytest.mark.parametrize("family", [False, True])
def test_code_output_and_input(family: bool) -> None:
    done = run_program(["sh", "-c", "echo out; echo err >&2; cat; exit 7"], timeout=20, family=family)
    assert (done.code, done.stdout, done.stderr) == (7, "out\n", "err\n")
    lines: list[str] = []
    done = run_program(["printf", r"a\nb\n\377"], timeout=20, family=family, on_line=lines.append)
    assert lines == ["a\n", "b\n", "\ufffd"]
    assert done.code == 0
    assert run_program(["cat"], timeout=20, text="Wörter").stdout == "Wörter"


def test_signals_that_are_ignored_stay_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_orderly():
            os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(Ended), ending_orderly():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_it_says_is_limited(tmp_path: Path, pids: list[int]) -> None:
    for redirected in ("", ">&2"):
        script = f"echo $$ > {tmp_path}/pid; exec yes {redirected}"
        with pytest.raises(OutputError, match="wrote more than 100000 bytes"):
            run_program(["bash", "-c", script], timeout=20, limit=100_000)
        pids.append(int((tmp_path / "pid").read_text()))
        assert until(lambda: not alive(pids[-1]))


def test_large_input_and_output_at_once() -> None:
    text = "0123456789abcdef\n" * 50_000
    lines: list[str] = []
    done = run_program(["cat"], timeout=60, text=text, on_line=lines.append)
    assert done.stdout == text == "".join(lines)
    assert run_program(["true"], timeout=20, text=text).code == 0  # it does not read


def test_line_ends_are_line_feeds() -> None:
    lines: list[str] = []
    done = run_program(["printf", r"a\r\nb\rc"], timeout=20, on_line=lines.append)
    assert (done.stdout, "".join(lines)) == ("a\nb\nc", "a\nb\nc")


def test_it_ends_when_it_has_closed_its_outputs_and_stays() -> None:
    with pytest.raises(OutOfTimeError, match=r"stopped after 0\.5 s"):
        run_program(["sh", "-c", "exec >&- 2>&-; sleep 60"], timeout=0.5)


def test_nothing_else_starts_programs() -> None:
    package = Path(__file__).resolve().parents[2] / "aotfactory"
    starting = re.compile(r"subprocess\.(run|Popen|call|check_)|os\.(system|popen|spawn|posix_spawn)")
    found = {str(p.relative_to(package)) for p in package.rglob("*.py") if starting.search(p.read_text())}
    assert found == {"core/processes.py"}


def told_while_it_imports() -> None:
    with ending_orderly():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except BaseException as error:  # as a library in C does
            raise ImportError("initialization failed") from error


def failing() -> None:
    with ending_orderly():
        raise ImportError


def test_what_becomes_an_error_of_a_library_is_an_end_all_the_same() -> None:
    with pytest.raises(Ended) as caught:
        told_while_it_imports()
    assert caught.value.exit_code == 143
    with pytest.raises(ImportError):
        failing()
