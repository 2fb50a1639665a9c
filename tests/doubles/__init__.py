# SPDX-License-Identifier: Apache-2.0
"""Doubles of what no test machine has: TensorRT's builder, parser and runtime, and trtexec."""
