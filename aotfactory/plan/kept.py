# SPDX-License-Identifier: Apache-2.0
"""Plans kept in the cache: TensorRT searches for minutes, and for the same bundle on the same machine finds the same.

The key covers TensorRT's full version, the GPU, its driver, every option that becomes a flag or a profile, and the
bundle by its hash; a timing cache is left out of it, which changes how long the search takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from aotfactory.compiler.manifest import Bundle
from aotfactory.core import cuda
from aotfactory.core.arch import Arch, native_arch
from aotfactory.core.cache import Cache, key_of
from aotfactory.core.files import file_sha256
from aotfactory.core.fingerprint import fingerprint
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Profile
from aotfactory.plan.builder import Plan
from aotfactory.plan.options import PlanOptions
from aotfactory.plan.tensorrt_network import uses_model

KIND = "plan"


def key_for(bundle: Bundle, sha256: str, options: PlanOptions, tensorrt: str) -> str | None:
    """The key of a bundle's plan on this machine; None for one that depends on more than can be told.

    Args:
        sha256: Of the bundle's manifest.
        tensorrt: TensorRT's full version.
    """
    if options.jit or options.library:  # its plugins are Python, or in a library: a plan refers to them
        return None
    arch = options.arch or native_arch()
    asked = {n: v for n, v in asdict(options).items() if n not in ("arch", "model", "timing_cache", "shapes")}
    shapes = [
        [field, sorted([str(name), list(given)] for name, given in named.items())]
        for field, named in asdict(options.shapes).items()
    ]
    model = None
    if uses_model(bundle.network, options):
        try:
            model = list(_model_files(options.model or Path(bundle.network.target)))
        except Exception:  # what is wrong with it, the build will say
            return None
    gpu = [cuda.gpu_name(), cuda.driver_release(), arch.name, arch.capability]
    return key_of(KIND, fingerprint(), tensorrt, gpu, asked, shapes, sha256, model)


def _model_files(path: Path) -> Iterator[str]:
    """SHA-256 of the model's file, and of those that its tensors lie in."""
    yield file_sha256(path, limit=LIMITS["onnx_bytes"])[0]
    found: set[str] = set()
    graphs = [onnx.load(path, load_external_data=False).graph]
    while graphs:
        graph = graphs.pop()
        for tensor in graph.initializer:
            found |= {entry.value for entry in tensor.external_data if entry.key == "location"}
        for attribute in (a for node in graph.node for a in node.attribute):
            graphs += [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
    for name in sorted(found):
        yield file_sha256(path.parent / name, limit=LIMITS["plan_bytes"])[0]


def find(cache: Cache, key: str, bundle: Bundle) -> Plan | None:
    """The plan of this key; None where there is none, or one that is not of this bundle."""
    found = cache.get(KIND, key)
    if found is None:
        return None
    head, _, data = found.partition(b"\n")
    variants = {variant.id: variant for variant in bundle.variants}
    try:
        kept = json.loads(head)
        return Plan(
            data=data,
            arch=Arch(**kept["arch"]),
            kernels=tuple(variants[name] for name in kept["kernels"]),
            offered=tuple(variants[name] for name in kept["offered"]),
            inputs={name: _profile(given) for name, given in kept["inputs"].items()},
            outputs=tuple(kept["outputs"]),
            layers=tuple(kept["layers"]),
            flags=tuple(kept["flags"]),
            messages=tuple(kept["messages"]),
            seconds=float(kept["seconds"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def keep(cache: Cache, key: str, plan: Plan) -> None:
    """Keep a plan for the next time; one that is larger than an entry may be is not kept."""
    head = {
        "arch": asdict(plan.arch),
        "kernels": [variant.id for variant in plan.kernels],
        "offered": [variant.id for variant in plan.offered],
        "inputs": {name: asdict(profile) for name, profile in plan.inputs.items()},
        "outputs": list(plan.outputs),
        "layers": list(plan.layers),
        "flags": list(plan.flags),
        "messages": list(plan.messages),
        "seconds": plan.seconds,
    }
    cache.put(KIND, key, json.dumps(head).encode() + b"\n" + plan.data)


def _profile(given: Mapping[str, Any]) -> Profile:
    return Profile(**{point: tuple(int(n) for n in given[point]) for point in ("min", "opt", "max")})
