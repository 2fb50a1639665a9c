# SPDX-License-Identifier: Apache-2.0
"""The C++ programs, built and called: launcher and runner."""
