# SPDX-License-Identifier: Apache-2.0
"""What a test needs (`gpu`, `tensorrt`, `launcher`, `runner`) and whether this machine has it."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import forked
import pytest
from commands import run  # noqa: F401  (a fixture for all tests)

from aotfactory.core import cuda
from aotfactory.core.errors import AotError, MissingError
from aotfactory.executors.interpreter import check as interpreter
from aotfactory.executors.native.cmake import SOURCES
from aotfactory.executors.native.launcher import build_launcher
from aotfactory.executors.native.plugin_library import build_plugin_archive
from aotfactory.executors.native.runner import build_runner
from aotfactory.plugins import tensorrt_api

# A test looks at what is done, not at what was done in another test; those of the cache have one of their own.
os.environ["AOTFACTORY_NO_CACHE"] = "1"

# Whoever starts the tests may ignore SIGINT (a job in the background) or SIGHUP (nohup), and what they start would
# inherit that. A handler is not inherited; that of SIGHUP does nothing, as nohup is to go on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

FAKE_DRIVER = Path(__file__).parent / "cpp" / "fake_cuda.cpp"


@pytest.fixture(scope="session", autouse=True)
def _forked_programs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "worker_command", lambda: forked.INTERPRETERS.command(forked.WORKER))
        yield
    for server in (forked.INTERPRETERS, forked.DOUBLES):
        server.close()


@pytest.fixture(scope="session")
def as_a_user(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment for commands of the documents: they share a cache, as a user's do, between processes too."""
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "documents-cache"
    kept = {name: value for name, value in os.environ.items() if name != "AOTFACTORY_NO_CACHE"}
    return {**kept, "AOTFACTORY_CACHE": str(cache), "PYTHONPATH": str(Path(__file__).parents[1])}


@pytest.fixture(scope="session")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libcuda.so.1 made for the tests, whose kernels are C++ on the host."""
    folder = tmp_path_factory.mktemp("driver")
    library = folder / "libcuda.so.1"
    subprocess.run(["c++", "-std=c++17", "-shared", "-fPIC", "-I", SOURCES, "-o", library, FAKE_DRIVER], check=True)
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("aotfactory")
    group.addoption("--require-gpu", action="store_true", help="fail tests that find no GPU, instead of skipping them")
    group.addoption("--require-tensorrt", action="store_true", help="the same for tests that find no full TensorRT")
    group.addoption("--run-slow", action="store_true", help="run the slow tests too")


def pytest_configure(config: pytest.Config) -> None:
    # Each process keeps to its part of the files, whose fixtures it has then made, and takes from the other's part at
    # the end; `load`, xdist's default, gives both of them tests of the same file.
    if getattr(config.option, "dist", "") == "load":
        config.option.dist = "worksteal"


LONG = {"test_packaging.py", "test_docs.py", "test_readme.py"}
"""Of few tests, each of which takes seconds, and some of which wait for pip."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # They come first, so that the last ones are small and no process has a long one left when the others are done.
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_report_header() -> str:
    packages = ("triton", "numpy", "tensorrt-cu13-bindings", "tensorrt-lean-cu13-libs", "tensorrt-cu13", "tensorrt")
    installed = {dist.name.lower().replace("_", "-"): dist.version for dist in metadata.distributions()}
    return "aotfactory: " + ", ".join(f"{name} {installed[name]}" for name in packages if name in installed)


@functools.cache
def no_gpu() -> str:
    """Why there is no GPU; empty if there is one."""
    return "" if cuda.cuda_device_count() else "no GPU: the CUDA driver is missing or sees no device"


@functools.cache
def no_tensorrt() -> str:
    """Why there is no full TensorRT; empty if there is one."""
    try:
        tensorrt_api.require_builder()
    except AotError as error:
        return f"no full TensorRT: {error.message}"
    return ""


@functools.cache
def no_launcher() -> str:
    """Why the launcher cannot be built; empty if it can, and then it is."""
    try:
        build_launcher()
    except MissingError as error:
        return f"no launcher: {error.message.splitlines()[0]}"
    return ""


@functools.cache
def no_runner() -> str:
    """Why the runner cannot be built; empty if it can, and then it is."""
    try:
        build_runner()
    except MissingError as error:
        return f"no runner: {' '.join(error.message.split())}"
    return ""


@functools.cache
def no_plugin_library() -> str:
    """Why no plugin library can be made; empty if one can."""
    try:
        build_plugin_archive()
    except MissingError as error:
        return f"no plugin library: {' '.join(error.message.split())}"
    return ""


ALSO_REQUIRED = {"launcher": ("gpu", "tensorrt"), "runner": ("tensorrt",), "plugin_library": ("tensorrt",)}
"""What a required test needs besides is required as well; the runner's headers only where TensorRT is."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    config = item.config
    if item.get_closest_marker("slow") and not config.getoption("--run-slow") and "slow" not in config.option.markexpr:
        pytest.skip("slow: give --run-slow")
    needs = {
        "gpu": no_gpu,
        "tensorrt": no_tensorrt,
        "launcher": no_launcher,
        "runner": no_runner,
        "plugin_library": no_plugin_library,
    }
    for marker, missing in needs.items():
        if item.get_closest_marker(marker) and (reason := missing()):
            for name in ALSO_REQUIRED.get(marker, (marker,)):
                if item.get_closest_marker(name) and config.getoption(f"--require-{name}"):
                    pytest.fail(f"--require-{name} was given: {reason}", pytrace=False)
            pytest.skip(reason)
