# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's own ONNX parser and builder, of TensorRT-RTX, in a process of their own: run by test_nvidia_parser.py.

The parser hands a plugin's attributes to its creator, and is left there: TensorRT-RTX takes no plugins of users, and
the process would end. So each model gets a fork.

    python nvidia_parser.py fields    stdin: JSON list of [model file, name, namespace, attribute names]
    python nvidia_parser.py build     stdin: JSON list of [model file, {dimension: [min, opt, max]}, interrupt?]
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt_rtx_bindings as trt

from aotfactory.core.errors import AotError


class Logger(trt.ILogger):  # type: ignore[misc]
    def __init__(self) -> None:
        trt.ILogger.__init__(self)

    def log(self, severity: Any, msg: str) -> None:
        if severity <= trt.ILogger.ERROR:
            print(msg, file=sys.stderr)


class Creator(trt.IPluginCreatorV3One):  # type: ignore[misc]
    """Prints what the parser passes it, and ends the process."""

    def __init__(self, name: str, namespace: str, attributes: list[str]) -> None:
        trt.IPluginCreatorV3One.__init__(self)
        self.name, self.plugin_version, self.plugin_namespace = name, "1", namespace
        self.field_names = trt.PluginFieldCollection(
            [trt.PluginField(n, np.array([]), trt.PluginFieldType.FLOAT32) for n in attributes]
        )

    def create_plugin(self, name: str, fields: Any, phase: Any) -> None:
        found = {f.name: [f.type.name, np.asarray(f.data).tolist()] for f in fields}
        print(json.dumps(found), flush=True)
        os._exit(0)


def parse(path: str, logger: Logger) -> tuple[Any, Any, Any]:
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    with open(path, "rb") as file:
        if not parser.parse(file.read()):
            print("null", flush=True)
            os._exit(0)
    return builder, network, parser


def fields(jobs: list[Any]) -> None:
    logger = Logger()
    for path, name, namespace, attributes in jobs:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            trt.get_plugin_registry().register_creator(Creator(name, namespace, attributes), namespace)
            parse(path, logger)
            os._exit(9)
        os.waitpid(child, 0)


def build(path: str, dims: dict[str, Any], interrupt: bool) -> dict[str, Any]:
    """Build a model without plugin nodes with aotfactory's own code of the plan step."""
    from aotfactory.compiler.manifest import Bundle
    from aotfactory.core.network import Network
    from aotfactory.plan.builder import _Build
    from aotfactory.plan.options import PlanOptions
    from aotfactory.targets.request import TargetOptions

    network = Network(name="model", target=path, ranges={}, tensors=(), calls=())
    options = PlanOptions(
        shapes=TargetOptions(dims={n: tuple(e) for n, e in dims.items()}), workspace=2**28, optimization_level=1
    )
    phases: list[str] = []

    def progress(text: str) -> None:
        phases.append(text)
        if interrupt:
            os.kill(os.getpid(), signal.SIGINT)

    made = _Build(trt, None, Bundle(network=network, variants=(), versions={}), options, progress)
    made.config.num_compute_capabilities = 1  # this machine needs no GPU for it
    made.config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    try:
        data = made.run(Path(path).with_suffix(".timing"))
    except KeyboardInterrupt:
        return {"interrupted": True}
    except AotError as error:
        return {"error": str(error)}
    profiles = {n: [p.min, p.opt, p.max] for n, p in made.profiles.items()}
    return {"bytes": len(data), "phases": len(phases), "profiles": profiles, "outputs": made.outputs}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    jobs = json.load(sys.stdin)
    if sys.argv[1] == "fields":
        fields(jobs)
    else:
        for job in jobs:
            print(json.dumps(build(*job)), flush=True)
