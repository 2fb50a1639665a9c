# SPDX-License-Identifier: Apache-2.0
"""Begin a plugin of one's own: a kernel file with its recipe, and a test that passes at once."""

from __future__ import annotations

import keyword
import os
import re
import sys
from importlib import resources
from importlib.machinery import PathFinder
from pathlib import Path
from string import Template

from aotfactory.core.errors import EngineNameError, ExistsError, UnwritableError
from aotfactory.core.files import replace_file

_TRITON_TEST = (
    "Compile the kernel for each architecture that matters to you, and compare it with its reference: no GPU is needed."
)
_CUDA_TEST = """\
Compile the kernel for every architecture that matters to you, and check how it is launched: no GPU is needed.

On a GPU, `aotfactory validate` compares the bundle with the reference; Triton's interpreter does not run CUDA C++.
"""


def new_plugin(name: str, *, out: Path, namespace: str = "my", package: bool = False, cuda: bool = False) -> list[Path]:
    """Write ``NAME.py`` and ``test_NAME.py``, or a package of that name that offers the recipe by an entry point.

    Args:
        name: Of the plugin, the recipe and the module.
        out: Directory to write to; it is made if needed.
        cuda: Whether the kernel is in CUDA C++, not in Triton.
        package: Whether to write ``NAME/pyproject.toml``, ``NAME/NAME/kernel.py`` and ``NAME/tests/test_NAME.py``.

    Returns:
        The files that were written.

    Raises:
        UsageError: The name cannot be a module's, is that of an installed one, or one of the files is there already.
            Nothing is written then.
    """
    for what, text in (("a plugin", name), ("a namespace", namespace)):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", text) or keyword.iskeyword(text):
            hint = "use lower-case letters, digits and _, and begin with a letter"
            raise EngineNameError(f"{text!r} cannot be the name of {what}", hint=hint)
    if _imported_by_others(name):
        hint = f"choose another one: {name}.py would be imported in place of the installed module, by pytest for one"
        raise EngineNameError(f"{name!r} cannot be the name of a plugin: Python has a module {name}", hint=hint)
    values = {
        "name": name,
        "namespace": namespace,
        "distribution": name.replace("_", "-"),
        "requires": "aotfactory[nvrtc]" if cuda else "aotfactory",
        "test_summary": _CUDA_TEST if cuda else _TRITON_TEST,
    }
    if package:
        base = out / name
        texts = {
            base / "pyproject.toml": _fill("pyproject", values),
            base / name / "__init__.py": "",
            base / name / "kernel.py": _fill("cuda" if cuda else "kernel", values),
            base / "tests" / f"test_{name}.py": _fill("test", {**values, "plugins": f'"{name}.kernel"'}),
        }
    else:
        file = out / f"{name}.py"
        texts = {
            file: _fill("cuda" if cuda else "kernel", values),
            out / f"test_{name}.py": _fill(
                "test", {**values, "plugins": f'str(Path(__file__).with_name("{name}.py"))'}
            ),
        }
    for path in texts:
        if os.path.lexists(path):
            raise ExistsError(f"{path} is there already", hint="choose another name or --out")
    try:
        for path, text in texts.items():
            replace_file(path, text.encode())
    except OSError as error:
        raise UnwritableError(
            f"cannot write {error.filename or out}: {error.strerror}", hint="choose another --out"
        ) from error
    return list(texts)


def _imported_by_others(name: str) -> bool:
    places = [path for path in sys.path if {"site-packages", "dist-packages"} & set(Path(path).parts)]
    installed = PathFinder.find_spec(name, places)
    return name in sys.stdlib_module_names or (installed is not None and installed.loader is not None)


def _fill(template: str, values: dict[str, str]) -> str:
    text = resources.files("aotfactory").joinpath("templates").joinpath(f"{template}.txt").read_text("utf-8")
    return Template(text).substitute(values)
