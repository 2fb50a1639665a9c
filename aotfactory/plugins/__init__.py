# SPDX-License-Identifier: Apache-2.0
"""Authors' definitions: loaded, explained, and asked as TensorRT asks them."""
