# SPDX-License-Identifier: Apache-2.0
"""The part of the build that pyproject.toml can't say: where kernels/ goes, and the launcher in the wheel."""

import os
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent))

from aotfactory.core.errors import MissingError
from aotfactory.executors.native.cmake import SHIPPED, ProgramBuild, ready_program

LAUNCHER = Path("aotfactory", "runtime", SHIPPED.name, "aotfactory-launcher")


class BuildWithLauncher(build_py):
    """build_py, then the launcher where this machine can build it. Else it is built on first use.

    $AOTFACTORY_LAUNCHER names one that is built already; with AOTFACTORY_BUILD_LAUNCHER=0 the wheel has none.
    """

    def run(self):
        super().run()
        if self.editable_mode or platform.system() != "Linux" or os.environ.get("AOTFACTORY_BUILD_LAUNCHER") == "0":
            return
        target = Path(self.build_lib, LAUNCHER)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory() as cache:
                # Static, so that it needs nothing but libc, and libcuda when it runs; and nobody waits for it.
                static = ["-DSTATIC_RUNTIME=ON", "-DCMAKE_CXX_FLAGS_RELEASE=-O3 -DNDEBUG"]
                program = (
                    ready_program("launcher") or ProgramBuild("launcher", cache=Path(cache), settings=static).run()
                )
                shutil.copy(program, target)
        except MissingError as error:
            print(f"note: the wheel has no launcher, it is built on first use: {error}", file=sys.stderr)

    def get_outputs(self, include_bytecode=1):
        launcher = Path(self.build_lib, LAUNCHER)
        return [*super().get_outputs(include_bytecode), *([str(launcher)] if launcher.is_file() else [])]


class WheelForLauncher(bdist_wheel):
    """A wheel for any Python 3; with the launcher inside, for its machine and every libc that has what it needs."""

    def get_tag(self):
        launcher = Path(self.get_finalized_command("build_py").build_lib, LAUNCHER)
        return ("py3", "none", platform_of(launcher.read_bytes()) if launcher.is_file() else "any")


def platform_of(program: bytes) -> str:
    """The wheel's platform for a program: the newest version of glibc's symbols that it needs (PEP 600)."""
    versions = [(int(major), int(minor)) for major, minor in re.findall(rb"GLIBC_(\d+)\.(\d+)", program)]
    libc = "manylinux_{}_{}".format(*max(versions)) if versions else "linux"
    return f"{libc}_{platform.machine()}"


# kernels/ is at the top of the repository, but is installed inside aotfactory: another project owns the name `kernels`.
setup(
    packages=[
        *find_namespace_packages(
            include=["aotfactory", "aotfactory.*"],
            exclude=["*.__pycache__", "*.build", "*.build.*", "aotfactory.runtime.bin"],
        ),
        "aotfactory.kernels",
    ],
    package_dir={"aotfactory": "aotfactory", "aotfactory.kernels": "kernels"},
    cmdclass={"build_py": BuildWithLauncher, "bdist_wheel": WheelForLauncher},
)
