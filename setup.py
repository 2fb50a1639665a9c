# SPDX-License-Identifier: Apache-2.0
"""The part of the build that pyproject.toml can't say: where kernels/ goes."""

from setuptools import find_namespace_packages, setup

# kernels/ is at the top of the repository, but is installed inside aotfactory: another project owns the name `kernels`.
setup(
    packages=[
        *find_namespace_packages(
            include=["aotfactory", "aotfactory.*"], exclude=["*.__pycache__", "*.build", "*.build.*"]
        ),
        "aotfactory.kernels",
    ],
    package_dir={"aotfactory": "aotfactory", "aotfactory.kernels": "kernels"},
)
