# SPDX-License-Identifier: Apache-2.0
"""Ahead-of-time TensorRT engines with custom kernels."""

import os

__version__ = "0.1.0"

# The kernels live in the repository's top-level kernels/ and are installed as aotfactory.kernels.
# In a checkout (a clone, or an editable install of one) that package is one directory further up.
_PACKAGE = os.path.dirname(os.path.abspath(__file__))
if not os.path.isdir(os.path.join(_PACKAGE, "kernels")):
    __path__.append(os.path.dirname(_PACKAGE))
