# SPDX-License-Identifier: Apache-2.0
"""From a target to a bundle: the same bytes wherever it is built, and nothing touched where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_definitions import SOURCE, Definitions, changed

from aotfactory.api import making
from aotfactory.api.build import BuildResult, build_bundle
from aotfactory.api.recipes import to_json as recipe_to_json
from aotfactory.compiler import bundle as bundles
from aotfactory.compiler.compile import Options
from aotfactory.core.arch import parse_archs
from aotfactory.core.errors import AotError
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions

ROOT = Path(__file__).resolve().parents[2]


def build(definitions: Definitions, out: Path, *, archs: str = "sm_80", scale: str = "1") -> BuildResult:
    request = TargetOptions(
        min_shape={None: (1, 64)}, opt_shape={None: (4, 64)}, max_shape={None: (8, 64)}, attributes={"scale": scale}
    )
    options = Options(archs=parse_archs(archs))
    specs = [str(definitions.path)]
    return build_bundle(definitions.id, request=request, options=options, out=out, plugins=specs, interpret=False)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_the_report_is_what_is_on_disk(tmp_path: Path) -> None:
    report = build(Definitions(tmp_path), tmp_path / "engines", archs="sm_80,sm_90,portable")
    assert report.failed == []
    assert report.path == tmp_path / "engines" / "copy.aot"
    assert bundles.read(report.path) == report.bundle
    assert [v.arch for v in report.bundle.variants] == ["sm_80", "sm_90", "portable"]
    assert {c.subject for c in report.checks} == {v.id for v in report.bundle.variants}
    assert report.bundle.versions == making.versions()


def test_a_failed_check_leaves_the_old_bundle(tmp_path: Path) -> None:
    good = build(Definitions(tmp_path), tmp_path)
    assert good.path
    before = contents(good.path)
    bad = build(Definitions(tmp_path, changed("block_x=64", "block_x=32")), tmp_path)
    assert (bad.path, bad.sha256) == (None, None)
    assert [c.name for c in bad.failed] == ["abi"]
    assert contents(good.path) == before


def test_an_error_leaves_the_old_bundle(tmp_path: Path) -> None:
    good = build(Definitions(tmp_path), tmp_path)
    assert good.path
    before = contents(good.path)
    with pytest.raises(AotError, match="scale"):
        build(Definitions(tmp_path), tmp_path, scale="none")
    assert contents(good.path) == before


def test_a_new_build_replaces_the_old_bundle(tmp_path: Path) -> None:
    first = build(Definitions(tmp_path), tmp_path, archs="sm_80,sm_90")
    second = build(Definitions(tmp_path), tmp_path, archs="portable")
    assert first.path == second.path
    assert second.path
    assert bundles.read(second.path) == second.bundle
    assert len(list(second.path.iterdir())) == 2


def test_launches_at_the_profiles_points(tmp_path: Path) -> None:
    report = build(Definitions(tmp_path), tmp_path).to_json()
    at = report["variants"][0]["launch_at"]
    assert {point: (at[point]["grid"], at[point]["extra_args"]) for point in at} == {
        "min": ([1, 1, 1], [64]),
        "opt": ([4, 1, 1], [256]),
        "max": ([8, 1, 1], [512]),
    }


def test_every_shipped_recipe_has_a_json_form() -> None:
    import json

    catalog = Catalog()
    catalog.load_all()
    assert catalog.problems == []
    assert {"circ_pad", "elementwise_add", "inplace_add", "non_zero"} <= set(catalog.recipes)
    for recipe in catalog.recipes.values():
        assert json.loads(json.dumps(recipe_to_json(recipe)))["name"] == recipe.name


BUILD = """
import sys
from pathlib import Path
from aotfactory.core.arch import parse_archs
from aotfactory.api.build import build_bundle
from aotfactory.compiler.compile import Options
from aotfactory.targets.request import TargetOptions
request = TargetOptions(min_shape={None: (1, 3, 32, 32)}, max_shape={None: (8, 3, 64, 96)})
build_bundle("my_pad", request=request, options=Options(archs=parse_archs("sm_90,portable"), tactic=2),
             out=Path(sys.argv[2]), plugins=[sys.argv[1]], interpret=False)
"""


def test_two_processes_in_two_places_write_the_same_bytes(tmp_path: Path) -> None:
    processes = []
    for name, seed in (("one", "1"), ("another/place of work", "2")):
        directory = tmp_path / name
        (directory / "home").mkdir(parents=True)
        source = (ROOT / "kernels" / "circ_pad.py").read_text("utf-8").replace('name="circ_pad"', 'name="my_pad"')
        (directory / "my_pad.py").write_text(source, "utf-8")
        env = {
            **os.environ,
            "HOME": str(directory / "home"),
            "PYTHONHASHSEED": seed,
            "TRITON_CACHE_DIR": str(directory / "triton"),
            "AOTFACTORY_CACHE": str(directory / "cache"),
        }
        # In one place by an absolute path, in the other by a relative one.
        plugin = str(directory / "my_pad.py") if name == "one" else "my_pad.py"
        command = [sys.executable, "-c", BUILD, plugin, "out"]
        processes.append(subprocess.Popen(command, cwd=directory, env=env, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, err = process.communicate()
        assert process.returncode == 0, err
    one, other = (contents(tmp_path / name / "out" / "my_pad.aot") for name in ("one", "another/place of work"))
    assert len(one) == 3
    assert one == other
    written = b"".join(one.values())
    assert b"place of work" not in written
    assert str(tmp_path).encode() not in written


def test_the_module_of_a_mistake_is_not_half_loaded(tmp_path: Path) -> None:
    """After an error the same process can go on with other definitions."""
    with pytest.raises(AotError):
        build(Definitions(tmp_path, f"{SOURCE}\nraise RuntimeError\n"), tmp_path)
    assert build(Definitions(tmp_path), tmp_path).failed == []
