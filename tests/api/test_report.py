# SPDX-License-Identifier: Apache-2.0
"""The report of a directory: what is in it, in each format, and as a browser shows it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from commands import Run
from small_definitions import SOURCE, changed

from aotfactory.api import report_formats
from aotfactory.api.farm import run_farm
from aotfactory.api.farm_file import FarmFile
from aotfactory.api.report import gather
from aotfactory.core.errors import UsageError

FARM = """
[defaults]
attr = { scale = 1 }
arch = ["sm_80", "sm_90"]
shape = "1x64"

[[engine]]
target = "report::copy"
plugins = ["good.py"]

[[engine]]
target = "wrong::copy"
name = "wrong"
plugins = ["wrong.py"]
"""
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"


def tuning(us: float) -> str:
    times = {"tactic": 0, "us": us, "gb_per_s": 100.0, "of_copy": 0.5}
    ranking = {"gpu": "H100", "shapes": {"inp0": [1, 64]}, "tactics": [times]}
    return json.dumps({"schema": "aotfactory.tuning/1", "rankings": [ranking]})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "good.py").write_text(SOURCE.replace("NS::", "report::"))
    (folder / "wrong.py").write_text(changed("block_x=64", "block_x=32").replace("NS::", "wrong::"))
    (folder / "farm.toml").write_text(FARM)
    file = FarmFile(folder / "farm.toml")
    run_farm(file.engines, out=file.out, cache=None, jobs=2, keep_going=True)
    return file.out


@pytest.fixture
def engines(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "engines"))


def by_name(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {engine["name"]: engine for engine in report["engines"]}


def test_what_is_gathered(engines: Path) -> None:
    report = gather(engines)
    assert report["counts"] == {"passed": 2, "failed": 2}
    good = by_name(report)["copy.sm_90"]
    assert (good["inputs"], good["attributes"]) == ({"inp0": ["fp32", "1x64"]}, {"copy": {"scale": "1"}})
    assert set(good["versions"]) == {"tensorrt", "aotfactory", "triton"}
    variant = report["variants"][good["variants"][0]]
    assert variant["launch"] == {"grid_x": "1", "block_x": "64"}
    assert "abi of copy.sm_80" in by_name(report)["wrong.sm_80"]["error"]


def test_times_are_compared_with_the_last_report(engines: Path) -> None:
    path = engines / "copy.sm_90.tuning.json"
    path.write_text(tuning(8.0))
    assert by_name(gather(engines))["copy.sm_90"]["timings"][0]["tactics"][0]["before"] is None
    path.write_text(tuning(6.0))
    for _ in range(2):  # the second report of the same times says the same
        found = by_name(gather(engines))["copy.sm_90"]["timings"][0]["tactics"][0]
        assert (found["us"], found["before"]) == (6.0, 8.0)


def test_what_cannot_be_read_is_named(engines: Path, run: Run) -> None:
    (engines / "half.build.json").write_text('{"schema": "aotfactory.build/1"')
    (engines / "other.build.json").write_text('{"schema": "aotfactory.build/1"}')
    (engines / "old.aot").mkdir()
    report = gather(engines)
    assert [line.split(":")[0] for line in report["unreadable"]] == ["half.build.json", "other.build.json"]
    assert by_name(report)["old"]["status"] == "unchecked"
    done = run("report", str(engines))
    assert (done.code, done.err.count("warning: left out")) == (0, 2)


def test_junit(engines: Path) -> None:
    root = ElementTree.fromstring(report_formats.junit(gather(engines)))
    suites = {suite.get("name"): suite for suite in root}
    assert (suites["copy.sm_80"].get("failures"), suites["wrong.sm_80"].get("failures")) == ("0", "1")
    assert len(suites["copy.sm_80"]) == int(suites["copy.sm_80"].get("tests", 0)) == 4
    failure = suites["wrong.sm_80"].find(".//failure")
    assert failure is not None
    assert "it is compiled for blocks of" in failure.get("message", "")


def test_markdown(engines: Path) -> None:
    text = report_formats.markdown(gather(engines))
    assert "4 engines: 2 failed, 2 passed" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[1].startswith("| wrong.sm\\_80 |")
    assert text.count("it is compiled for blocks of") == 2


def test_command(engines: Path, run: Run, tmp_path: Path) -> None:
    done = run("report", str(engines), "--markdown", str(tmp_path / "a.md"), "--junit", str(tmp_path / "a.xml"))
    assert (done.code, done.out.splitlines()[0]) == (0, "4 engines: 2 failed, 2 passed")
    assert (engines / "report.html").exists()
    assert (tmp_path / "a.md").exists()
    assert (tmp_path / "a.xml").exists()
    assert run("report", str(tmp_path / "none")).code == 2
    with pytest.raises(UsageError, match="no engine is in"):
        gather(tmp_path / "engines" / "copy.sm_80.aot")


def browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    return found


def shown(page: Path, script: str, width: int = 1200) -> str:
    """The document after a script has run in it, as text; scripts' errors are in it as well."""
    probe = page.with_name("probe.html")
    errors = "<script>addEventListener('error', e => document.body.append('ERR' + 'OR ' + e.message))</script>"
    text = page.read_text().replace("<body>", f"<body>{errors}", 1)
    probe.write_text(text.replace("</body>", f"<script>{script}</script></body>"))
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}"]
    command += [f"--window-size={width},800", "--virtual-time-budget=2000", "--dump-dom", probe.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "ERROR" not in done.stdout, done.stdout[done.stdout.find("ERROR") :]
    return done.stdout


def test_in_a_browser(engines: Path, run: Run) -> None:
    path = engines / "copy.sm_80.build.json"
    path.write_text(path.read_text().replace('"detail": "proved', f'"detail": "{HOSTILE} proved'))
    run("report", str(engines))
    script = """
    open(report.engines.find(e => e.name === "copy.sm_80"));
    setTimeout(() => {
      const count = () => document.querySelectorAll("details.engine").length, before = count();
      const wide = document.documentElement.scrollWidth > innerWidth;
      byId("status").value = "failed"; show(); const failed = count();
      byId("status").value = ""; byId("search").value = "copy.sm_90 PROVED"; show();
      document.body.append(`RESULT ${before} ${failed} ${count()} ${wide} ${document.title}`);
    }, 100);"""
    dom = shown(engines / "report.html", script, width=500)
    result = dom[dom.rindex("RESULT") :].split("</body>")[0].strip()
    assert result == "RESULT 4 2 1 false engines: aotfactory report"


DAMAGED = {
    "copy.sm_90.build.json": [
        lambda d: d["summary"].update(inputs={"inp0": 7}),
        lambda d: d["summary"].update(archs="sm_90"),
        lambda d: d["summary"].pop("inputs"),
        lambda d: d["summary"].pop("archs"),
        lambda d: d["summary"].update(target={"a": 1}),
        lambda d: d["checks"].append({"name": 1, "subject": [], "status": "passed", "detail": None}),
        lambda d: d["variants"][0].update(spills="many"),
        lambda d: d.update(versions=7),
        lambda d: d.update(history={"a": 1}),
    ],
    "farm.json": [
        lambda d: d["engines"].update(x=7),
        lambda d: d["engines"].update(x={"target": "t", "arch": 1, "status": "failed", "error": {"message": 1}}),
        lambda d: d.update(engines=[]),
    ],
}


@pytest.mark.parametrize(("name", "index"), [(name, i) for name in DAMAGED for i in range(len(DAMAGED[name]))])
def test_files_of_other_types_are_left_out(name: str, index: int, engines: Path) -> None:
    path = engines / name
    data = json.loads(path.read_text())
    DAMAGED[name][index](data)
    path.write_text(json.dumps(data))
    found = gather(engines)
    assert [line for line in found["unreadable"] if line.startswith(name)]
    for text in (report_formats.html(found), report_formats.markdown(found), report_formats.junit(found)):
        assert text.encode()


def test_half_a_pair_and_deep_nesting_are_left_out(engines: Path) -> None:
    (engines / "x.tuning.json").write_text(tuning(1.0).replace("H100", "\\ud800"))
    (engines / "y.build.json").write_text("[" * 100_000)
    (engines / "report-times.json").write_text(json.dumps({"runs": [{"us": 7}]}))
    (engines / "z.tuning.json").write_text(tuning(1.0))
    assert [line.partition(":")[0] for line in gather(engines)["unreadable"]] == ["y.build.json", "x.tuning.json"]
