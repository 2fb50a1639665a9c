# SPDX-License-Identifier: Apache-2.0
"""From a request (recipe, plugin id, ONNX file) to a network of plugin calls."""
