# SPDX-License-Identifier: Apache-2.0
"""Four models from PyTorch to checked bundles: exported, grafted, built for three architectures, judged by node.

    python scripts/export_models.py --out models            # takes PyTorch's CPU build and onnxscript
    python scripts/export_models.py --out models --only llama --arch sm_90

Weights are random, of a fixed seed; sizes are small, so that the CPU can compute everything.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F

import aotfactory
from aotfactory.api.graft import graft
from aotfactory.api.validate_model import validate_model
from aotfactory.core.check import failed


class CircularUNet(torch.nn.Module):
    """Two levels of convolutions on a torus, as for panoramas and periodic fields."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, width, 3)
        self.down = torch.nn.Conv2d(width, 2 * width, 3, stride=2)
        self.up = torch.nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.last = torch.nn.Conv2d(2 * width, 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def pad(y: torch.Tensor) -> torch.Tensor:
            return F.pad(y, (1, 1, 1, 1), mode="circular")

        high = F.relu(self.first(pad(x)))
        low = F.relu(self.down(pad(high)))
        return self.last(pad(torch.cat([high, self.up(low)], 1)))


class Llama(torch.nn.Module):
    """One block: RMSNorm, attention with rotary positions, RMSNorm, SwiGLU."""

    def __init__(self, positions: int = 16, heads: int = 2, size: int = 16) -> None:
        super().__init__()
        width = heads * size
        self.heads, self.size = heads, size
        self.norms = torch.nn.ModuleList(torch.nn.RMSNorm(width, eps=1e-6) for _ in range(2))
        self.qkv = torch.nn.Linear(width, 3 * width, bias=False)
        self.out = torch.nn.Linear(width, width, bias=False)
        self.gate_up = torch.nn.Linear(width, 4 * width, bias=False)
        self.down = torch.nn.Linear(2 * width, width, bias=False)
        angles = torch.arange(positions)[:, None] / 100 ** (torch.arange(size // 2) / (size // 2))
        self.register_buffer("cos", torch.cat([angles, angles], -1).cos())
        self.register_buffer("sin", torch.cat([angles, angles], -1).sin())
        self.register_buffer("mask", torch.full((positions, positions), -1e4).triu(1))

    def rotated(self, x: torch.Tensor) -> torch.Tensor:
        half = self.size // 2
        return x * self.cos + torch.cat((-x[..., half:], x[..., :half]), -1) * self.sin

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, positions, width = x.shape
        parts = self.qkv(self.norms[0](x)).chunk(3, -1)
        q, k, v = (p.reshape(batch, positions, self.heads, self.size).transpose(1, 2) for p in parts)
        scores = self.rotated(q) @ self.rotated(k).transpose(-1, -2) * self.size**-0.5
        x = x + self.out((torch.softmax(scores + self.mask, -1) @ v).transpose(1, 2).reshape(batch, positions, width))
        gate, up = self.gate_up(self.norms[1](x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Diffusion(torch.nn.Module):
    """A residual block of a diffusion model, and a transformer's feed-forward layer on its pixels."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.groups = torch.nn.ModuleList(torch.nn.GroupNorm(4, channels) for _ in range(2))
        self.convs = torch.nn.ModuleList(torch.nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.norm = torch.nn.LayerNorm(channels)
        self.wide, self.narrow = torch.nn.Linear(channels, 4 * channels), torch.nn.Linear(4 * channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for group, conv in zip(self.groups, self.convs, strict=True):
            y = conv(F.silu(group(y)))
        x = x + y
        pixels = x.flatten(2).transpose(1, 2)
        pixels = pixels + self.narrow(F.gelu(self.wide(self.norm(pixels)), approximate="tanh"))
        return pixels.transpose(1, 2).reshape(x.shape)


class Sampler(torch.nn.Module):
    """A head that samples features where it predicts, as deformable layers do."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.where = torch.nn.Conv2d(channels, 2, 3, padding=1)
        self.what = torch.nn.Conv2d(channels, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grid = torch.tanh(self.where(x)).permute(0, 2, 3, 1)
        return self.what(F.grid_sample(x, grid, padding_mode="border", align_corners=True))


MODELS = {
    "unet": (CircularUNet, (1, 3, 16, 16)),
    "llama": (Llama, (2, 16, 32)),
    "diffusion": (Diffusion, (2, 16, 8, 8)),
    "sampler": (Sampler, (1, 4, 12, 12)),
}


def export(name: str, folder: Path) -> Path:
    """Write a model as PyTorch's exporter does."""
    kind, shape = MODELS[name]
    torch.manual_seed(0)
    path = folder / f"{name}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            kind().eval(), (torch.randn(shape),), path, dynamo=True, verbose=False, external_data=False,
            input_names=["x"], output_names=["y"],
        )  # fmt: skip
    return path


def make(name: str, folder: Path, arch: str) -> dict[str, object]:
    """Take one model all the way; returns what came of it."""
    grafted, started = folder / f"{name}_grafted.onnx", time.monotonic()
    found = [g for g in graft(export(name, folder), grafted) if g.replaced]
    built = aotfactory.build(str(grafted), arch=arch, out=folder, engine="bundle")
    wrong = [c.detail for c in built.failed]
    if built.path is not None:
        checks = validate_model(built.path, grafted)
        wrong += [f"{c.subject}: {c.detail}" for c in failed(checks)]
        judged = sum(c.name == "interpreter" and c.status == "passed" for c in checks)
    return {
        "model": name,
        "grafted": [g.rule for g in found],
        "variants": len(built.bundle.variants),
        "judged": judged if built.path else 0,
        "beside": dict(built.bundle.network.beside),
        "wrong": wrong,
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("models"))
    parser.add_argument("--only", choices=MODELS, help="one of the models")
    parser.add_argument("--arch", default="sm_80,sm_90,sm_100")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = [make(name, options.out, options.arch) for name in ([options.only] if options.only else MODELS)]
    for result in results:
        print(json.dumps(result))
    raise SystemExit(any(result["wrong"] for result in results))


if __name__ == "__main__":
    main()
