# SPDX-License-Identifier: Apache-2.0
"""Modules that are scripts, or import more than there is: they are read as far as this machine goes, which is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from small_definitions import SOURCE, Definitions

from aotfactory.core.errors import DefinitionError, MissingError, UsageError
from aotfactory.plugins import absent, loader
from aotfactory.plugins.definitions import find

MARK = "  # HERE\n"


def told(definitions: Definitions) -> list[str]:
    """What was left out of this file, without its name."""
    return [gap.removeprefix(f"{definitions.here}: ") for gap in absent.gaps() if str(definitions.path) in gap]


def test_a_package_that_is_imported_and_not_used(tmp_path: Path) -> None:
    definitions = Definitions(tmp_path, f"import no_such_framework.parts as nsf{MARK}{SOURCE}")
    loader.load(str(definitions.path))
    assert find(definitions.id)
    assert told(definitions) == ["no_such_framework is not installed; what needs it is left out"]
    assert not [name for name in sys.modules if name.startswith("no_such_framework")]


@pytest.mark.parametrize(
    "prepared", ["try:\n    import absent_here\nexcept ImportError:\n    absent_here = None\n", ""]
)
def test_a_module_that_looks_for_a_package_does_not_find_a_placeholder(prepared: str, tmp_path: Path) -> None:
    asked = prepared or "import importlib.util\nabsent_here = importlib.util.find_spec('absent_here')\n"
    definitions = Definitions(tmp_path, f"{asked}assert absent_here is None\n{SOURCE}")
    loader.load(str(definitions.path))
    assert not told(definitions)


SCRIPTS = {
    "a package": (
        f"import no_such_framework\n{SOURCE}\nno_such_framework.plugins.convert('x'){MARK}",
        "no_such_framework.plugins is used, but no_such_framework is not installed; the module is read up to here",
    ),
    "TensorRT's builder": (
        f"{SOURCE}\nbuilder = trt.Builder(trt.Logger()){MARK}",
        "TensorRT's builder is not on this machine",
    ),
    "a GPU": (
        f"{SOURCE}\nraise AssertionError('Torch not compiled with CUDA enabled'){MARK}",
        "AssertionError: Torch not compiled with CUDA enabled; the module is read up to here",
    ),
}


@pytest.mark.parametrize("needed", SCRIPTS)
def test_a_script_is_read_up_to_where_it_needs_more_than_there_is(needed: str, tmp_path: Path) -> None:
    source, said = SCRIPTS[needed]
    definitions = Definitions(tmp_path, source)
    module = loader.load(str(definitions.path))
    assert find(definitions.id).function("aot_impl")
    assert told(definitions)[-1].startswith(said)
    assert loader.load(str(definitions.path)) is module


def test_before_a_plugin_is_registered_it_is_an_error(tmp_path: Path) -> None:
    definitions = Definitions(tmp_path, f"import tensorrt as trt\nbuilder = trt.Builder(trt.Logger()){MARK}{SOURCE}")
    with pytest.raises(MissingError, match="TensorRT's builder is not on this machine") as caught:
        loader.load(str(definitions.path))
    assert caught.value.where == definitions.here
    assert definitions.path.stem not in sys.modules


def test_any_other_exception_is_an_error(tmp_path: Path) -> None:
    definitions = Definitions(tmp_path, f"{SOURCE}\nraise KeyError('x'){MARK}")
    with pytest.raises(DefinitionError, match="KeyError: 'x'"):
        loader.load(str(definitions.path))


def test_a_plugin_that_stands_behind_it_is_not_there_and_the_reason_is_told(tmp_path: Path) -> None:
    definitions = Definitions(tmp_path, f"{SOURCE}\ntrt.Builder(trt.Logger()){MARK}")
    loader.load(str(definitions.path))
    with pytest.raises(UsageError, match=r"no plugin 'later::one' is registered") as caught:
        find("later::one")
    assert f"{definitions.here}: TensorRT's builder is not on this machine" in (caught.value.hint or "")
