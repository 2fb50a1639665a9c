# SPDX-License-Identifier: Apache-2.0
"""A network into checked PTX variants, and the bundle on disk."""
