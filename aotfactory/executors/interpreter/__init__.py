# SPDX-License-Identifier: Apache-2.0
"""Kernels on the CPU in Triton's interpreter, in a process of its own."""
