# SPDX-License-Identifier: Apache-2.0
"""Executors, their inputs, references and comparison."""
