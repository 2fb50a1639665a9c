# SPDX-License-Identifier: Apache-2.0
"""Kernels that other people publish, wrapped as a user would: right ones are built and compared, wrong ones fail."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest

from aotfactory.api.build import BuildResult, build_bundle
from aotfactory.compiler.compile import Options
from aotfactory.core.arch import parse_archs
from aotfactory.core.errors import AotError
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions

CORPUS = Path(__file__).parent / "corpus"
sys.path.append(str(CORPUS))

from corpus_sizes import SIZES  # noqa: E402
from corpus_table import TABLE, WRAPPERS, distribution, table  # noqa: E402
from outcomes import ATTRIBUTES, LARGE, REFUSED, STATIC, WRONG, Wrong  # noqa: E402

SECONDS = {False: 5.0, True: 20.0}
"""Of the interpreter's time for each build, and for one of many tactics: the shapes and data that teach most."""

RIGHT = [name for name in WRAPPERS if name not in REFUSED]


MOVING = [name for name in RIGHT if name not in STATIC]


def require(wrapper: str) -> None:
    """Skip where the wrapper's package is not installed in the version that it was written for."""
    for package in ("torch", distribution(wrapper)):
        pinned = re.search(rf"^{package}==(\S+)", (CORPUS / "requirements.txt").read_text(), re.MULTILINE)
        assert pinned, f"{package} is not in tests/corpus/requirements.txt"
        try:
            found = metadata.version(package).partition("+")[0]
        except metadata.PackageNotFoundError:
            found = "none"
        if found != pinned[1]:
            reason = f"{package} {pinned[1]} is needed and {found} is installed: see tests/corpus/requirements.txt"
            (pytest.fail if os.environ.get("AOTFACTORY_REQUIRE_CORPUS") else pytest.skip)(reason)


def build(
    spec: Path,
    name: str,
    out: Path,
    *,
    dynamic: bool = False,
    sizes: Mapping[str, int] | None = None,
    interpret: bool = True,
) -> BuildResult:
    """Build at the recipe's shapes, but for `sizes`, by dimension; or with dynamic dimensions from 1 to some more."""
    recipe = Catalog([str(spec)]).find(name)
    assert recipe is not None
    opt = {
        item.name: tuple((sizes or {}).get(d, n) for d, n in zip(item.dims, item.shape, strict=True))
        for item in recipe.inputs
    }
    request = TargetOptions(shape=opt)
    if dynamic:
        low, high = dict(opt), dict(opt)
        for item in recipe.inputs:
            moves = [d in recipe.dynamic or not recipe.dynamic for d in item.dims]
            low[item.name] = tuple(1 if move else n for n, move in zip(item.shape, moves, strict=True))
            high[item.name] = tuple(n + 3 if move else n for n, move in zip(item.shape, moves, strict=True))
        attributes = ATTRIBUTES.get(name, {})
        request = TargetOptions(min_shape=low, opt_shape=opt, max_shape=high, attributes=attributes)
    options = Options(archs=parse_archs("sm_90"))
    return build_bundle(
        name,
        request=request,
        options=options,
        out=out,
        plugins=[str(spec)],
        interpret=interpret,
        listed=False,
        check_time=SECONDS["tactics_of" in spec.read_text()],
    )


def assert_compared(report: BuildResult) -> None:
    """Every variant was run in the interpreter and compared with the reference, and nothing failed."""
    assert not report.failed, report.failed
    checks = [check for check in report.checks if check.name == "interpreter"]
    compared = [check for check in checks if not check.detail.startswith("left out")]  # a config no plan can launch
    assert {check.subject for check in compared} == {variant.id for variant in report.bundle.variants} != set()
    for check in compared:
        assert check.status == "passed", check
        assert "against the reference" in check.detail, check


def test_all_have_sizes_for_a_gpu() -> None:
    assert SIZES.keys() == set(RIGHT)


@pytest.mark.parametrize("wrapper", RIGHT)
def test_a_right_kernel_is_built(wrapper: str, tmp_path: Path) -> None:
    """Without dynamic dimensions, and compared where the next test is not of it: CI has no time for both."""
    require(wrapper)
    report = build(CORPUS / f"{wrapper}.py", wrapper, tmp_path, interpret=wrapper in STATIC)
    assert not report.failed
    if wrapper in STATIC:
        assert_compared(report)


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", MOVING)
def test_a_right_kernel_without_dynamic_dimensions_is_compared(wrapper: str, tmp_path: Path) -> None:
    require(wrapper)
    assert_compared(build(CORPUS / f"{wrapper}.py", wrapper, tmp_path))


@pytest.mark.parametrize("wrapper", MOVING)
def test_a_right_kernel_with_dynamic_dimensions_is_built_and_compared(wrapper: str, tmp_path: Path) -> None:
    require(wrapper)
    assert_compared(build(CORPUS / f"{wrapper}.py", wrapper, tmp_path, dynamic=True))


@pytest.mark.parametrize("wrapper", LARGE)
def test_a_right_kernel_on_large_tensors_is_built_and_compared(wrapper: str, tmp_path: Path) -> None:
    require(wrapper)
    assert_compared(build(CORPUS / f"{wrapper}.py", wrapper, tmp_path, sizes=LARGE[wrapper]))


@pytest.mark.parametrize("wrapper", REFUSED)
def test_what_cannot_be_a_plugin_is_refused_with_the_reason(wrapper: str, tmp_path: Path) -> None:
    require(wrapper)
    try:
        said = "; ".join(check.detail for check in build(CORPUS / f"{wrapper}.py", wrapper, tmp_path).failed)
    except AotError as error:
        said = str(error)
    assert REFUSED[wrapper] in said


@pytest.mark.parametrize(
    "wrong",
    WRONG,
    ids=lambda wrong: f"{wrong.wrapper}: {wrong.mistake}",
)
def test_a_wrong_wrapper_fails(wrong: Wrong, tmp_path: Path) -> None:
    require(wrong.wrapper)
    text = (CORPUS / f"{wrong.wrapper}.py").read_text()
    assert text.count(wrong.old) == 1
    name = f"wrong_{WRONG.index(wrong)}"
    copy = tmp_path / f"{name}.py"
    copy.write_text(text.replace(wrong.old, wrong.new).replace("corpus::", f"{name}::"))
    shutil.copy(CORPUS / "corpus_tools.py", tmp_path)
    try:
        failed = build(copy, wrong.wrapper, tmp_path, dynamic=wrong.dynamic, sizes=wrong.sizes).failed
    except AotError:
        return
    assert failed


def test_the_documents_table_is_of_these_wrappers() -> None:
    assert TABLE.read_text().partition("<!-- table -->\n")[2] == table(), "run python tests/corpus/corpus_table.py"
