# SPDX-License-Identifier: Apache-2.0
"""Bakes a bundle with a plugin library, by the builder's double, in a process that has no definitions loaded.

python bake_library.py BUNDLE [version-compatible] [onnx]: prints the record, and what is in the plan.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from doubles.runtime import full_tensorrt, read_plan
from doubles.samples import SM_90
from doubles.signatures import USED

from aotfactory.api.bake import bake
from aotfactory.plan.options import PlanOptions
from aotfactory.plugins import tensorrt_api

if __name__ == "__main__":
    full = full_tensorrt()
    tensorrt_api.require_builder = lambda: full
    mode = "onnx" if "onnx" in sys.argv else "network"
    options = PlanOptions(arch=SM_90, mode=mode, version_compatible="version-compatible" in sys.argv)
    baked = bake(Path(sys.argv[1]), options=options, road="library")
    print(json.dumps({"record": baked.record, "plan": read_plan(baked.plan.data), "used": sorted(USED)}))
