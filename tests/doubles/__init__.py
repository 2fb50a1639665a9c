# SPDX-License-Identifier: Apache-2.0
"""Doubles of what no test machine has: TensorRT's builder, parser and runtime, and trtexec."""

from aotfactory.plugins import tensorrt_api

tensorrt_api.load()  # from here on `import tensorrt` works, in whatever order imports are sorted
