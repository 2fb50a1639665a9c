# SPDX-License-Identifier: Apache-2.0
"""What scripts/attacks.py tries. The tables of hostile manifests, records and files are the tests' own."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), *(str(ROOT / "tests" / room) for room in ("api", "compiler", "plan", "executors"))]

import test_bundle_hostile  # noqa: E402
import test_farm_file  # noqa: E402
import test_npy  # noqa: E402
import test_record_hostile  # noqa: E402
import test_trtexec_hostile  # noqa: E402
from attack_faults import faults  # noqa: E402
from attack_machine import machine  # noqa: E402
from attack_onnx import models  # noqa: E402
from attacks import Attack  # noqa: E402
from test_bundle import made  # noqa: E402

from aotfactory.api import tune  # noqa: E402
from aotfactory.api.farm_file import FarmFile  # noqa: E402
from aotfactory.compiler import bundle as bundles  # noqa: E402
from aotfactory.compiler import triton_cache  # noqa: E402
from aotfactory.compiler.ptx import parse_module  # noqa: E402
from aotfactory.core import expressions  # noqa: E402
from aotfactory.core.cache import Cache, key_of  # noqa: E402
from aotfactory.core.text import printable  # noqa: E402
from aotfactory.executors.npy import load_npy  # noqa: E402
from aotfactory.executors.trtexec import output  # noqa: E402
from aotfactory.plan import record as provenance  # noqa: E402
from aotfactory.plan.plan_file import PlanFile  # noqa: E402

Json = dict[str, Any]
WRONG: dict[str, Any] = {
    "null": None,
    "a number": 7,
    "a float": 1.5,
    "true": True,
    "an empty text": "",
    "a list of lists": [[[]]],
    "an object": {"a": {}},
    "control characters": "\x1b[2J\u202e",
    "a long text": "x" * 100_000,
    "2^80": 2**80,
}
"""Values that are put in the place of others; where one is right, another is taken."""


def cases() -> list[Attack]:
    return [
        *manifests(),
        *records(),
        *arrays(),
        *trtexec(),
        *texts(),
        *terminal(),
        *factory(),
        *models(),
        *faults(),
        *machine(),
    ]


# --- farm.toml, the cache ---------------------------------------------------------------------------------------------


def factory() -> Iterator[Attack]:
    def farm(text: str, folder: Path) -> None:
        test_farm_file.farm(folder, text)

    for name, (text, _) in test_farm_file.HOSTILE.items():
        yield Attack("farm.toml", name, functools.partial(farm, text))

    def special(make: Callable[[Path], Any], folder: Path) -> None:
        (folder / "farm.toml").touch()
        make(folder / "farm.toml")
        FarmFile(folder / "farm.toml")

    for kind in ("pipe", "device", "sparse", "folder"):
        make = getattr(test_bundle_hostile, kind)
        yield Attack("farm.toml", f"a {kind}", functools.partial(special, make))

    def entry(change: Callable[[Path], Any], folder: Path) -> str:
        cache, key = Cache(folder / "cache"), key_of("attack")
        cache.put("a", key, b"what was kept")
        change(cache._path("a", key))
        if cache.get("a", key) is not None:
            raise RuntimeError("it was used")
        return "counts as missing"

    bomb = zlib.compress(bytes(2**28), 9)
    for name, change in {
        "a pipe for an entry": lambda p: (p.unlink(), os.mkfifo(p, 0o600)),
        "a device for an entry": lambda p: (p.unlink(), p.symlink_to("/dev/zero")),
        "a sparse file of a terabyte for an entry": lambda p: os.truncate(p, 2**40),
        "an entry that others may write": lambda p: p.chmod(0o666),
        "a folder that others may write": lambda p: p.parent.chmod(0o777),
        "an entry that unpacks to 256 MB": lambda p: p.write_bytes(
            hashlib.sha256(bomb).hexdigest().encode() + b"\n" + bomb
        ),
        "an entry without its hash": lambda p: p.write_bytes(b"what was kept"),
    }.items():
        yield Attack("cache", name, functools.partial(entry, change), refused=False)

    def outside(name: str, folder: Path) -> str:
        try:
            triton_cache._contents({"text": {name: "x"}, "base64": {}})
        except ValueError:
            return "counts as missing"
        raise RuntimeError("it would be written")

    for name in ("../x", "/tmp/x", "", ".", "..", "a/b", "\0"):
        run = functools.partial(outside, name)
        yield Attack("cache", f"{name!r} for the name of a file of Triton's", run, refused=False)


# --- bundles ---------------------------------------------------------------------------------------------------------


def bundle_with(change: Callable[[Json], Any], folder: Path) -> Path:
    path = folder / "copy.aot"
    bundles.write(made(), path)
    data = json.loads((path / "manifest.json").read_text())
    change(data)
    (path / "manifest.json").write_text(json.dumps(data))
    return path


def manifests() -> Iterator[Attack]:
    for name, (change, _) in test_bundle_hostile.MANIFESTS.items():
        yield Attack("manifests", name, lambda folder, c=change: show(bundles.read(bundle_with(c, folder))))
    data = bundles.manifest(made())
    for place in places(data):
        for name, value in WRONG.items():
            if type(value) is not type(at(data, place)) or name in ("control characters", "a long text", "2^80"):
                if sum(map(ord, f"{place}{name}")) % 3:  # a third of them; the fuzzer tries all
                    continue
                change = functools.partial(put, place, value)
                label = f"{name} for {'.'.join(map(str, place))}"
                run = lambda folder, c=change: show(bundles.read(bundle_with(c, folder)))  # noqa: E731
                yield Attack("manifests", label, run, refused=False)
    for which in ("manifest.json", "*.ptx"):
        for kind in ("pipe", "device", "sparse", "folder"):
            make = getattr(test_bundle_hostile, kind)

            def run(folder: Path, make: Any = make, which: str = which) -> None:
                path = bundle_with(lambda data: None, folder)
                make(min(path.glob(which)))
                bundles.read(path)

            yield Attack("manifests", f"a {kind} for {which}", run)


def show(bundle: bundles.Bundle) -> None:
    """Use it as `inspect` does."""
    from aotfactory.cli import terminal
    from aotfactory.cli.tables.bundles import print_bundle

    with open(os.devnull, "w") as nowhere:
        out, sys.stdout = sys.stdout, nowhere
        try:
            terminal.show(lambda console: print_bundle(console, bundle))
            terminal.print_json(bundles.manifest(bundle))
        finally:
            sys.stdout = out


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The places of everything in a JSON value; of lists, the first item stands for all."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def at(data: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        data = data[step]
    return data


def put(place: tuple[str | int, ...], value: Any, data: Any) -> None:
    at(data, place[:-1])[place[-1]] = value


# --- records and rankings --------------------------------------------------------------------------------------------


def records() -> Iterator[Attack]:
    def read(change: Callable[[Json], Any], folder: Path) -> None:
        data = test_record_hostile.record()
        change(data)
        plan = test_record_hostile.written(folder, data)
        PlanFile.read(plan)

    for name, (change, _) in test_record_hostile.RECORDS.items():
        yield Attack("records", name, functools.partial(read, change))
    data = test_record_hostile.record()
    for place in places(data):
        for name, value in WRONG.items():
            if type(value) is not type(at(data, place)) and sum(map(ord, f"{place}{name}")) % 6 == 0:
                label = f"{name} for {'.'.join(map(str, place))}"
                run = functools.partial(read, functools.partial(put, place, value))
                yield Attack("records", label, run, refused=False)
    for name, content in {
        "nesting": b"[" * 100_000,
        "5000 digits": b'{"schema": ' + b"9" * 5000 + b"}",
        "UTF-16": json.dumps(data).encode("utf-16"),
        "NaN": b'{"schema": NaN}',
    }.items():
        yield Attack("records", f"{name} instead of JSON", lambda f, c=content: no_json(f, c))
        yield Attack("rankings", f"{name} instead of JSON", lambda f, c=content: rankings(f, c))
    for name, content in {"nothing but a schema": {}, "a number": 5, "a text for a list": {"rankings": "x"}}.items():
        text = {"schema": "aotfactory.tuning/1", **content} if isinstance(content, dict) else content
        yield Attack("rankings", name, lambda f, t=text: rankings(f, json.dumps(t).encode()))


def no_json(folder: Path, content: bytes) -> None:
    provenance.verified(test_record_hostile.written(folder, content))


def rankings(folder: Path, content: bytes) -> None:
    (folder / "x.tuning.json").write_bytes(content)
    tune.read(folder / "x.tuning.json")


# --- arrays, trtexec -------------------------------------------------------------------------------------------------


def arrays() -> Iterator[Attack]:
    def read(content: bytes, folder: Path) -> None:
        (folder / "x.npy").write_bytes(content)
        load_npy(folder / "x.npy", "fp32")

    for name, content in test_npy.HOSTILE.items():
        yield Attack("inputs (.npy)", name, functools.partial(read, content))

    def special(kind: str, folder: Path) -> None:
        path = folder / "x.npy"
        if kind == "a pipe":
            os.mkfifo(path)
        elif kind == "a device":
            path.symlink_to("/dev/zero")
        elif kind == "a folder":
            path.mkdir()
        else:
            path.write_bytes(test_npy.GOOD)
            os.truncate(path, 2**42)
        load_npy(path, "fp32")

    for kind in ("a pipe", "a device", "a folder", "a sparse file of 4 TB"):
        yield Attack("inputs (.npy)", kind, functools.partial(special, kind))


def trtexec() -> Iterator[Attack]:
    def read(content: bytes, reader: Callable[[Path], Any], folder: Path) -> None:
        (folder / "x.json").write_bytes(content)
        reader(folder / "x.json")

    for name, content in test_trtexec_hostile.EXPORTS.items():
        for reader in (output.exported_times, output.exported_profile):
            run = functools.partial(read, content, reader)
            yield Attack("trtexec's output", f"{name} as {reader.__name__.replace('_', ' ')}", run)
    for name, text in {
        "a throughput of 1.2.3": test_trtexec_hostile.summary(throughput="1.2.3"),
        "a throughput of inf": test_trtexec_hostile.summary(throughput="inf"),
        "a throughput of 5000 digits": test_trtexec_hostile.summary(throughput="9" * 5000),
        "a latency of NaN": test_trtexec_hostile.summary(most="nan"),
        "a summary of nothing": "=== Performance summary ===",
    }.items():
        yield Attack("trtexec's output", name, lambda folder, t=text: output.performance(t) and None)


# --- expressions, PTX, terminal --------------------------------------------------------------------------------------

PTX = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 x)\n{ ret; }\n"


def texts() -> Iterator[Attack]:
    for name, value in {
        "deep": functools.reduce(lambda e, _: ["sum", e, "N"], range(5000), "N"),  # type: ignore[arg-type, return-value]
        "wide": functools.reduce(lambda e, _: ["sum", e, e], range(40), "N"),  # type: ignore[arg-type, return-value]
        "code": "__import__('os')",
        "a keyword": "lambda",
        "NaN": float("nan"),
        "true": True,
        "2^63": 2**63,
        "an unknown operation": ["pow", 2, 9],
        "two operands too many": ["sum", 1, 2, 3, 4],
        "an empty list": [],
        "a size of a size": ["size_tensor", 0, 1, ["size_tensor", 0, 1, 1]],
        "a product beyond 64 bits": ["prod", 2**62, 4],
    }.items():
        yield Attack("expressions", f"{name} as JSON", lambda f, v=value: expressions.from_json(v) and None)
    for name, text in {
        "a call": "__import__('os').system('x')",
        "an attribute": "N.__class__",
        "a comprehension": "[x for x in N]",
        "100,000 parentheses": "(" * 100_000,
        "a power": "9**9**9",
        "5000 digits": "9" * 5000,
        "a NUL": "N\0",
        "100,000 minuses": "-" * 100_000 + "1",
        "nothing": "",
    }.items():
        yield Attack("expressions", f"{name} as text", lambda f, t=text: expressions.parse(t) and None)
    for name, text in {
        "nothing": "",
        "an ELF file": "\x7fELF" + "\0" * 100,
        "no entry": PTX.replace(".entry", ".func"),
        "a comment that does not end": PTX + "/*",
        "a body that does not end": PTX.replace("}", ""),
        "half a million braces": PTX.replace("ret;", "{" * 500_000),
        "half a megabyte of comments": PTX + "/**/" * 125_000 + "/*",
        "half a megabyte of .entry": PTX + ".entry " * 70_000,
        "half a megabyte of parameters": PTX.replace(".param .u64 x", ".param .u64 x," * 35_000),
        "half a megabyte of .align": PTX.replace(".param .u64", ".param" + " .align 8" * 55_000),
        "half a megabyte of quotes": PTX + '"' * 500_000 + "\n.entry",
        "half a megabyte of .loc": PTX + ".loc 1 1 1 " * 45_000 + ".entry",
        "half a megabyte of pragmas": PTX.replace("\n{", '\n.pragma "x";' * 35_000),
        "a target that is none": PTX.replace("sm_80", "sm_" + "9" * 5000),
        "a version of 5000 digits": PTX.replace("8.0", "9" * 5000 + ".0"),
        "addresses of 32 bits": PTX.replace("size 64", "size 32"),
    }.items():
        refused = name not in ("half a megabyte of parameters", "half a megabyte of .align")
        yield Attack("PTX", name, lambda f, t=text: parse_module(t) and None, refused=refused, seconds=5)


def terminal() -> Iterator[Attack]:
    for name, text in {
        "a title": "\x1b]0;x\x07",
        "clearing the screen": "\x1b[2J",
        "C1": "\x9b2J\x9d0;x\x9c",
        "bidi override": "\u202egpj.exe",
        "bidi isolate": "\u2066x\u2069",
        "carriage return": "ok\rFAILED",
        "backspace": "FAILED\x08\x08\x08\x08\x08\x08ok",
        "zero width": "a\u200bb\ufeff",
        "tags": "\U000e0041",
        "half of a pair": "\ud800",
        "a hyperlink": "\x1b]8;;http://x\x1b\\y",
        "a line separator": "a\u2028b",
        "markup": "[bold red]x[/] [/] [link=x]",
    }.items():
        for where in ("a check", "a message"):
            yield Attack("terminal", f"{name} in {where}", lambda f, t=text, w=where: printed(t, w), refused=False)


def printed(text: str, where: str) -> str:
    import io

    from aotfactory.cli import terminal as cli
    from aotfactory.cli.tables.builds import print_checks
    from aotfactory.core.check import Check

    out, err = io.StringIO(), io.StringIO()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        if where == "a check":
            check = Check(name=text, subject=text, status="failed", detail=text)
            cli.show(lambda console: print_checks(console, [check], {}))
        else:
            cli.say(text)
    finally:
        sys.stdout, sys.stderr = before
    said = out.getvalue() + err.getvalue()
    if printable(said) != said:
        raise ValueError(f"printed {said!r}")
    return "printed as text"
