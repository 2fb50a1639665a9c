# SPDX-License-Identifier: Apache-2.0
"""Where plugin modules imported `aot_kernel` from before `from aotfactory import aot_kernel` worked."""

from aotfactory.plugins.aot_kernel import AotKernel as AotKernel
from aotfactory.plugins.aot_kernel import aot_kernel as aot_kernel
