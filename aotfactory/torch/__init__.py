# SPDX-License-Identifier: Apache-2.0
"""Plugins as PyTorch operators, for models that are tested in PyTorch and exported to ONNX for `aotfactory build`.

    import torch
    import aotfactory.torch

    leaky_relu = aotfactory.torch.operator("my::leaky_relu", plugins=["my_plugins.py"])


    class Model(torch.nn.Module):
        def forward(self, x):
            return leaky_relu(x, alpha=0.1)


    torch.onnx.export(Model(), (x,), "model.onnx", dynamo=True,
                      custom_translation_table=aotfactory.torch.translations())

PyTorch is not a dependency of aotfactory: importing this package needs it, and nothing else here does.
"""

try:
    import torch as torch
except ModuleNotFoundError as error:
    from aotfactory.core.errors import NoPackageError

    raise NoPackageError("aotfactory.torch needs PyTorch", hint="pip install torch") from error

from aotfactory.torch.operator import Operator as Operator
from aotfactory.torch.operator import operator as operator
from aotfactory.torch.operator import translations as translations

__all__ = ["Operator", "operator", "translations"]
