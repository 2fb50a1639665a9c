# SPDX-License-Identifier: Apache-2.0
"""What the factory reads, for scripts/fuzz.py: farm.toml, entries of the cache, and the files that a report gathers."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

Random = random.Random
Reader = Callable[[Random, Path], Any]

FARM = """
out = "made"
[defaults]
arch = ["sm_80", "sm_90"]
attr = { pads = [1, 1, 1, 1] } # a comment
[[engine]]
target = ["circ_pad", 'softmax']
dtype = ["fp32", { x = "fp16" }]
exclude = [{ target = "softmax", arch = "sm_80" }]
include = [{ target = "rope", dtype = "bf16" }]
[[engine]]
name = "other"
target = "mine::twice"
plugins = ["mine.py", "some.module:function"]
shape = ["8x64", { x = "1x64" }, { min = "1x64", opt = "8x64", max = "32x64" }]
tensorrt = [{ optimization-level = 3 }, { workspace = 10, mode = "onnx" }]
ptx-isa = "8.0"
tactic = 1
all-dtypes = true
"""
TOML = (
    b"[[engine]]\n",
    b"[",
    b"{a=",
    b"a.b.",
    b'"""',
    b"'''",
    b"\\",
    b"1979-05-27",
    b"nan",
    b"9" * 5000,
    b'name="../x"\n',
)

BOUND = "1x3x32x32", "x=1..8x64", "1:8:64", "fp32", "x:1x3,y:8x64", "1,1,1,1", "true", "1.5e3", "sm_80,sm_90", "8.0"


def readers() -> dict[str, Reader]:
    from fuzz import as_json, damaged, written
    from test_bundle import made
    from test_record_hostile import record

    from aotfactory.api import engine_index, farm, finished, report, report_formats
    from aotfactory.api.farm_file import FarmFile
    from aotfactory.cli.options import named_shapes
    from aotfactory.compiler import bundle as bundles
    from aotfactory.core.arch import PtxIsa, parse_archs
    from aotfactory.core.cache import Cache, key_of, pack, unpack
    from aotfactory.core.check import Check
    from aotfactory.core.dependencies import Dependencies
    from aotfactory.targets.request import parse_dim, parse_shape

    check = Check(name="abi", subject="c", status="passed", detail="it fits")
    done = finished.Finished(
        bundle=made(), checks=(check,), dependencies=Dependencies({"<here>/a": None}, {"A": "b"}), check_time=60.0
    )
    key, entry = key_of("fuzz"), {}

    class Keeper(Cache):
        def put_json(self, kind: str, key: str, value: Any) -> None:
            entry.update(json.loads(json.dumps(value)))

    finished.keep(Keeper(Path("nowhere")), key, done, "c")
    document = engine_index.document(made(), {"schema": "aotfactory.build/1", **_report(made(), check)})
    document["history"] = [{"at": "2026", "sha256": "a", "resources": {v.id: [1, 0] for v in made().variants}}] * 2
    state = {"target": "c", "arch": "sm_80", "status": "failed", "seconds": 1.0, "checks": [check.to_json()]}
    state["error"] = {"message": "m", "where": None, "hint": "h"}
    farmed = {"schema": farm.SCHEMA, "engines": {"e": state}}
    times = {"tactic": 0, "us": 1.0, "gb_per_s": 100.0, "of_copy": 0.5}
    tuning = {"schema": "aotfactory.tuning/1", "rankings": [{"gpu": "g", "shapes": {"x": [1, 64]}, "tactics": [times]}]}
    earlier = {"schema": report.SCHEMA, "runs": [{"at": "2026", "us": {"e|g|x 1x64|0": 2.0}}] * 2}
    gathered = {
        "c.build.json": document,
        "farm.json": farmed,
        "p.plan.json": record(),
        "e.tuning.json": tuning,
        report.TIMES: earlier,
    }

    def read_farm(rng: Random, folder: Path) -> None:
        text = FARM.encode()
        for _ in range(rng.randrange(3)):
            place = rng.randrange(len(text))
            text = text[:place] + rng.choice(TOML) * rng.choice((1, 1, 40)) + text[place:]
        for engine in FarmFile(written(folder, "farm.toml", damaged(rng, text))).engines:
            farm.key_of(engine)

    def read_entry(rng: Random, folder: Path) -> None:
        cache = Cache(folder / "cache")
        cache.put(finished.KIND, key, as_json(rng, entry))
        if found := finished.find(cache, key, plain=True):
            bundles.write_once(found.bundle, folder / "from_cache.aot")
            [c.to_json() for c in found.checks]
        finished.why_not(cache, key)

    def read_packed(rng: Random, folder: Path) -> None:
        unpack(damaged(rng, pack(b"kernel" * 50)))

    def read_reports(rng: Random, folder: Path) -> None:
        here = folder / "engines"
        here.mkdir(exist_ok=True)
        name = rng.choice(list(gathered))
        for other, data in gathered.items():
            written(here, other, as_json(rng, data) if other == name else json.dumps(data).encode())
        found = report.gather(here)
        for text in (report_formats.html(found), report_formats.markdown(found), report_formats.junit(found)):
            text.encode()
        farm.estimate(here, [], {}, 1)
        engine_index.keep(here, "c", document)
        engine_index.add(here, {"c": engine_index.entry(document)})
        written(here, engine_index.INDEX, as_json(rng, json.loads((here / engine_index.INDEX).read_bytes())))
        engine_index.add(here, {"c": engine_index.entry(document)})

    def read_options(rng: Random, folder: Path) -> None:
        text = damaged(rng, rng.choice(BOUND).encode()).decode(errors="replace")
        rng.choice((parse_shape, parse_dim, parse_archs, PtxIsa.parse, lambda t: named_shapes("--shape", [t])))(text)

    return {
        "farm.toml": read_farm,
        "cache entry": read_entry,
        "cache file": read_packed,
        "reports": read_reports,
        "options": read_options,
    }


def _report(bundle: Any, check: Any) -> dict[str, Any]:
    from aotfactory.api import build

    result = build.BuildResult(target="c", bundle=bundle, path=Path("c.aot"), sha256="a", checks=(check,))
    return result.to_json()
