# SPDX-License-Identifier: Apache-2.0
"""The parts of the build that pyproject.toml can't say: the stubs of TensorRT, the wheel's tag, where kernels/ goes."""

import platform
import sys
from pathlib import Path

from setuptools import Distribution, find_namespace_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent))

from aotfactory.core.errors import MissingError
from aotfactory.plugins.stubs import LIBRARIES, PACKAGED_MAJOR, compile_stubs, soname


class BuildWithStubs(build_py):
    """build_py, then the stubs. Without a C compiler they are left out, and compiled on first use instead."""

    stubs = ()

    def run(self):
        super().run()
        if self.editable_mode or platform.system() != "Linux":
            return
        directory = Path(self.build_lib, "aotfactory", "plugins", "stubs")
        try:
            compile_stubs(directory, PACKAGED_MAJOR)
        except MissingError as error:
            print(f"warning: the wheel is built without the stubs: {error}", file=sys.stderr)
        else:
            self.stubs = tuple(str(directory / soname(library, PACKAGED_MAJOR)) for library in LIBRARIES)

    def get_outputs(self, include_bytecode=1):
        return [*super().get_outputs(include_bytecode), *self.stubs]


class NotPure(Distribution):
    """A distribution with compiled files, though they are no extension modules."""

    def has_ext_modules(self):
        return True


class PlatformWheel(bdist_wheel):
    """A wheel for any Python 3, but one operating system and machine.

    The stubs need no libc, so manylinux only says what TensorRT's and Triton's own wheels need anyway.
    """

    def get_tag(self):
        return ("py3", "none", f"manylinux_2_28_{platform.machine()}")


# kernels/ is at the top of the repository, but is installed inside aotfactory: another project owns the name `kernels`.
setup(
    packages=[
        *find_namespace_packages(
            include=["aotfactory", "aotfactory.*"], exclude=["*.__pycache__", "*.build", "*.build.*"]
        ),
        "aotfactory.kernels",
    ],
    package_dir={"aotfactory": "aotfactory", "aotfactory.kernels": "kernels"},
    distclass=NotPure,
    cmdclass={"build_py": BuildWithStubs, "bdist_wheel": PlatformWheel},
)
