# SPDX-License-Identifier: Apache-2.0
"""A bundle baked into a TensorRT plan, and plans on disk."""
