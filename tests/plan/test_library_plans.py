# SPDX-License-Identifier: Apache-2.0
"""`bake --road library`: plans of a plugin library, built by the double with the real C++ plugins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from doubles.library_layer import DRIVER
from doubles.samples import sample
from plugin_cases import build_driver
from test_tensorrt_calls import table

from aotfactory.compiler import bundle as bundles
from aotfactory.core.errors import OptionsError
from aotfactory.plan.options import PlanOptions, require_consistent, require_supported
from aotfactory.plan.plan_file import PlanFile

SCRIPT = Path(__file__).with_name("bake_library.py")


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.mktemp("driver") / "plugin_driver")


def bake(driver: Path, name: str, folder: Path, *options: str) -> dict[str, Any]:
    bundle = folder / f"{name}.aot"
    bundles.write(sample(name).bundle, bundle)
    env = {**os.environ, DRIVER: str(driver)}
    command = [sys.executable, SCRIPT, bundle, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.plugin_library
@pytest.mark.parametrize("name", ["circ_pad_dynamic", "inplace_add", "non_zero_dynamic"])
def test_plans(driver: Path, name: str, tmp_path: Path) -> None:
    found = bake(driver, name, tmp_path)
    item = sample(name)
    layers, record = found["plan"]["layers"], found["record"]
    assert [layer["name"] for layer in layers] == [call.name for call in item.bundle.network.calls]
    library = Path(record["options"]["library"])
    assert library.is_file()
    assert {layer["library"] for layer in layers} == {str(library)}
    tactics = {v.tactic for v in item.bundle.variants}
    assert {layer["tactic"] for layer in layers} <= tactics
    assert {k["id"] for k in record["kernels"]} == {v.id for v in item.bundle.variants}
    plan = PlanFile.read(tmp_path / record["plan"]["path"])
    assert plan.plugin_library == library
    documented, own = ({call for call, _ in table(f"Calls{more}")} for more in ("", " with a plugin library"))
    assert own - set(found["used"]) == {"IBuilderConfig.plugins_to_serialize"}  # of version-compatible plans
    assert set(found["used"]) - documented <= own | {"IPluginV3Layer.name"}


@pytest.mark.plugin_library
def test_a_version_compatible_plan_carries_the_library(driver: Path, tmp_path: Path) -> None:
    found = bake(driver, "circ_pad", tmp_path, "version-compatible")
    assert found["plan"]["libraries"] == [found["record"]["options"]["library"]]
    plan = PlanFile.read(tmp_path / found["record"]["plan"]["path"])
    assert plan.plugin_library is None
    assert plan.brings_runtime


@pytest.mark.plugin_library
def test_from_onnx(driver: Path, tmp_path: Path) -> None:
    """The parser finds the library's creator by name and namespace, and passes attributes in its own types."""
    found = bake(driver, "circ_pad_dynamic", tmp_path, "onnx")
    assert [layer["plugin"] for layer in found["plan"]["layers"]] == ["aotfactory::circ_pad"]


def test_versions() -> None:
    require_supported("10.0.1", library=True)
    require_supported("10.14.1", library=True)
    with pytest.raises(Exception, match=r"TensorRT 9.3.0 cannot be used"):
        require_supported("9.3.0", library=True)


def test_options_that_do_not_go_with_a_library() -> None:
    with pytest.raises(OptionsError, match="--road library offers all that the library has"):
        require_consistent(PlanOptions(library=Path("l.so"), tactic=1))
