# SPDX-License-Identifier: Apache-2.0
"""Executors: each runs the kernels of a bundle, or a plan, in its own way."""
