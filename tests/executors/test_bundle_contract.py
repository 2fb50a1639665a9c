# SPDX-License-Identifier: Apache-2.0
"""What Python and the launcher must answer alike of a bundle: compared on random ones, by dry runs without a GPU."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import launcher_bundles as bundles
import pytest

from aotfactory.compiler.bundle import read, write
from aotfactory.compiler.manifest import Bundle, bundle_from_json
from aotfactory.compiler.select import usable_variants
from aotfactory.compiler.variant import Variant
from aotfactory.compiler.variant_json import from_texts
from aotfactory.core import dimensions
from aotfactory.core.arch import KNOWN, parse_archs
from aotfactory.core.documents import parse_json, validate
from aotfactory.core.errors import DefinitionError, MissingError, UsageError
from aotfactory.core.expressions import from_json
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Network
from aotfactory.core.network_json import network_from_json
from aotfactory.executors.native import cmake
from aotfactory.executors.native.launcher import LaunchResult, build_launcher, run_launcher

pytestmark = pytest.mark.launcher

TWO_INPUTS = {
    "calls": [{"name": "call", "plugin": "p", "attributes": {}, "inputs": ["x", "z"], "outputs": ["y"]}],
    "target": "random",
}


@pytest.fixture(scope="module")
def launcher() -> Path:
    return build_launcher()


def dry_run(launcher: Path, bundle: Path, **options: Any) -> LaunchResult:
    return run_launcher(bundle, launcher=launcher, dry_run=True, save_outputs=False, **options)


def two_inputs(x: list[Any], z: list[Any], symbols: str, **profile: int) -> dict[str, Any]:
    """A bundle whose inputs have these shapes."""
    tensors = [bundles.tensor("x", "input", x), bundles.tensor("z", "input", z), bundles.tensor("y", "output", [1])]
    launch = {**bundles.variant()["launch"], "grid_x": 1}
    variant = bundles.variant(parameters=["ptr", "ptr", "ptr"], launch=launch)
    ranges = {name: {"min": 1, "opt": 4, "max": 9, **profile} for name in symbols}
    return bundles.manifest(variant, symbols=ranges, tensors=tensors, **TWO_INPUTS)


class TestShapes:
    def test_random_networks(self, launcher: Path, tmp_path: Path) -> None:
        """At shapes that fit, and at shapes that are off by one somewhere."""
        rng = random.Random(3)
        seen: Counter[str] = Counter()

        def extent(symbols: str, depth: int) -> Any:
            if depth == 0:
                return rng.choice([*symbols, *symbols, rng.randint(0, 4), -1])
            op = rng.choice(["sum", "sum", "sub", "prod", "prod", "ceil_div", "max"])
            return [op, extent(symbols, depth - 1), extent(symbols, rng.randint(0, depth - 1))]

        for number in range(160):
            symbols = "NMK"[: rng.randint(1, 3)]
            x, z = [[extent(symbols, rng.choice([0, 0, 1, 2])) for _ in range(rng.randint(1, 4))] for _ in range(2)]
            # A bundle holds expressions as Python simplifies them.
            x, z = ([from_json(d).to_json() for d in shape] for shape in (x, z))
            content = two_inputs(x, z, symbols, min=0)
            bundle = bundles.write(tmp_path / str(number), content)
            try:
                network = network_from_json(content)
            except DefinitionError as error:
                if "limit extent" in error.message or "divides by 0" in error.message:
                    continue  # the launcher looks at the shapes of a run alone
                seen["open"] += 1
                symbol = error.message.removeprefix("no shapes of the inputs tell the dimension ").split(",")[0]
                with pytest.raises(DefinitionError, match=f"do not tell the symbol '{symbol}'"):
                    dry_run(launcher, bundle)
                continue
            inputs = {t.name: t.shape for t in network.tensors if t.role == "input"}
            for off in (0, 0, 1, -1):
                values = {name: rng.randint(0, 9) for name in symbols}
                try:
                    at = {name: [d.evaluate(values) for d in shape] for name, shape in inputs.items()}
                except DefinitionError:
                    continue  # a division by zero
                name = rng.choice("xz")
                at[name][rng.randrange(len(at[name]))] += off
                if min(min(shape) for shape in at.values()) < 0:
                    continue
                expected = self.python(network, at)
                assert off or expected == values
                assert self.launcher(launcher, bundle, at) == expected, (x, z, at)
                seen["refused" if expected is None else "solved"] += 1
        assert min(seen[kind] for kind in ("open", "solved", "refused")) > 20, seen

    @staticmethod
    def python(network: Network, at: dict[str, list[int]]) -> dict[str, int] | None:
        try:
            return dimensions.bind(network, {name: tuple(shape) for name, shape in at.items()})
        except (UsageError, DefinitionError):
            return None

    @staticmethod
    def launcher(launcher: Path, bundle: Path, at: dict[str, list[int]]) -> dict[str, int] | None:
        try:
            symbols: dict[str, int] = dry_run(launcher, bundle, shapes=at, unchecked_profile=True).report["symbols"]
        except (UsageError, DefinitionError):
            return None
        return symbols

    def test_a_multiple_of_a_symbol(self, launcher: Path, tmp_path: Path) -> None:
        bundle = bundles.write(tmp_path, two_inputs([["sum", ["prod", 2, "N"], 1]], [3], "N"))
        assert dry_run(launcher, bundle, shapes={"x": (11,)}).report["symbols"] == {"N": 5}
        assert dry_run(launcher, bundle).report["tensors"][0]["shape"] == [9]
        with pytest.raises(UsageError, match="dimension 0 of input 'x' can't be 12: that leaves a fraction"):
            dry_run(launcher, bundle, shapes={"x": (12,)})
        with pytest.raises(UsageError, match="N = 50 of input 'x' is not within the profile's 1 to 9"):
            dry_run(launcher, bundle, shapes={"x": (101,)})

    def test_open_symbols_take_the_profile_s_values_one_after_the_other(self, launcher: Path, tmp_path: Path) -> None:
        """N + M = 9: M takes its value of the profile, and N follows."""
        bundle = bundles.write(tmp_path, two_inputs(["N"], [["sum", "N", "M"]], "NM"))
        assert dry_run(launcher, bundle, shapes={"z": (9,)}).report["symbols"] == {"M": 4, "N": 5}
        assert dry_run(launcher, bundle, shapes={"z": (9,)}, at="min").report["symbols"] == {"M": 1, "N": 8}


ARCHS = ["portable", *KNOWN]
SUFFIXES = ["", "", "", "a", "f"]


class TestVariants:
    def test_random_bundles(self, launcher: Path, tmp_path: Path) -> None:
        """Two calls with variants of random architectures, targets and tactics, chosen for random GPUs."""
        rng = random.Random(5)
        seen: Counter[str] = Counter()
        for number in range(60):
            content = self.content(rng)
            bundle = bundles.write(tmp_path / str(number), content)
            for arch in rng.sample(ARCHS, 4):
                tactic = rng.choice([None, 1, 2, 3])
                expected = self.python(content, arch, tactic)
                found = self.launcher(launcher, bundle, arch, tactic)
                assert found == expected, (arch, tactic, [(v["id"], v["ptx_target"]) for v in content["variants"]])
                seen[expected if isinstance(expected, str) else "found"] += 1
        assert min(seen[kind] for kind in ("found", "missing", "usage")) > 10, seen

    @staticmethod
    def content(rng: random.Random) -> dict[str, Any]:
        tensors = [bundles.tensor("x", "input", ["N", 8]), bundles.tensor("t", "internal", ["N", 8])]
        calls = [
            {"name": name, "plugin": "p", "attributes": {}, "inputs": [x], "outputs": [y]}
            for name, x, y in (("a", "x", "t"), ("b", "t", "y"))
        ]
        variants = []
        for call in "ab":
            for arch in rng.sample(ARCHS, rng.randint(1, 4)):
                target = "sm_80" if arch == "portable" else arch + rng.choice(SUFFIXES)
                for tactic in rng.sample([1, 2], rng.randint(1, 2)):
                    variants += [bundles.variant(call, arch=arch, ptx_target=target, tactic=tactic)]
        rng.shuffle(variants)
        return bundles.manifest(
            *variants, calls=calls, tensors=[*tensors, bundles.tensor("y", "output", ["N", 8])], target="random"
        )

    @staticmethod
    def python(content: dict[str, Any], arch: str, tactic: int | None) -> list[str] | str:
        fields = ("id", "call", "plugin", "arch", "kernel", "ptx_isa", "ptx_target", "tactic")
        variants = [
            Variant(
                **{f: v[f] for f in fields}, text="", dtypes=(), formats=(), parameters=(), launch={}, extra_args=()
            )
            for v in content["variants"]
        ]
        bundle = Bundle(network=network_from_json(content), variants=tuple(variants), versions={})
        try:
            chosen = usable_variants(bundle, parse_archs(arch)[0], tactic)
        except (MissingError, UsageError) as error:
            return "missing" if isinstance(error, MissingError) else "usage"
        return [variants[0].id for variants in chosen.values()]

    @staticmethod
    def launcher(launcher: Path, bundle: Path, arch: str, tactic: int | None) -> list[str] | str:
        try:
            run = dry_run(launcher, bundle, arch=arch, tactic=tactic).runs[0]
        except (MissingError, UsageError) as error:
            return "missing" if isinstance(error, MissingError) else "usage"
        return [launch["variant"] for launch in run.launches]

    def test_what_is_taken_instead_is_said(self, launcher: Path, tmp_path: Path) -> None:
        bundle = bundles.write(tmp_path, bundles.manifest(bundles.variant(arch="sm_80")))
        result = dry_run(launcher, bundle, arch="portable")
        assert [launch["arch"] for launch in result.runs[0].launches] == ["sm_80"]
        assert "nothing of its own for portable: its sm_80 kernels (PTX of sm_80) run there too" in result.messages
        assert "nothing of its own" not in dry_run(launcher, bundle, arch="sm_80").messages

    def test_architectures_by_other_names(self, launcher: Path, tmp_path: Path) -> None:
        bundle = bundles.write(tmp_path, bundles.manifest(bundles.variant(arch="sm_90", ptx_target="sm_90a")))
        assert dry_run(launcher, bundle, arch="sm_90a").report["arch"] == "sm_90"
        with pytest.raises(UsageError, match="--arch: 'hopper' is not an architecture"):
            dry_run(launcher, bundle, arch="hopper")


def rename(content: dict[str, Any], old: str, new: str) -> None:
    """Give a tensor of the first call another name."""
    for tensor in content["tensors"]:
        tensor["name"] = new if tensor["name"] == old else tensor["name"]
    for key in ("inputs", "outputs"):
        names = content["calls"][0][key]
        content["calls"][0][key] = [new if name == old else name for name in names]


def more_symbols(content: dict[str, Any], size: int) -> None:
    for i in range(size - 1):
        content["symbols"][f"S{i}"] = {"min": 1, "opt": 1, "max": 1}
        content["tensors"].append(bundles.tensor(f"extra{i}", "input", [f"S{i}"]))


def of_variant(key: str, value: Any) -> Callable[[dict[str, Any], int], None]:
    return lambda content, size: content["variants"][0].update({key: value(size)})


def of_call(key: str) -> Callable[[dict[str, Any], int], None]:
    def change(content: dict[str, Any], size: int) -> None:
        content["calls"][0][key] = "n" * size if key == "name" else "p::" + "n" * (size - 3)
        content["variants"][0]["call" if key == "name" else key] = content["calls"][0][key]

    return change


def deep(size: int) -> Any:
    return "N" if size == 1 else ["max", 1, ["sum", deep(size - 2), "N"]] if size > 2 else ["sum", "N", "N"]


def wide(size: int) -> Any:
    """An expression of so many operations and operands, an odd number."""
    left = (size - 1) // 2 | 1
    return "N" if size == 1 else ["sum", wide(left), wide(size - 1 - left)]


def more_calls(content: dict[str, Any], size: int) -> None:
    """So many tensors, each made of the one before it."""
    shared = {key: value for key, value in content["variants"][0].items() if key != "text"}
    for i in range(size - 2):
        content["tensors"].append(bundles.tensor(f"y{i}", "internal", ["N", 8]))
        call = {**content["calls"][0], "name": f"call{i}", "inputs": ["y"], "outputs": [f"y{i}"]}
        content["calls"].append(call)
        content["variants"].append({**shared, "id": f"v{i}.t1", "call": f"call{i}"})


def many_inputs(content: dict[str, Any], size: int) -> None:
    content["calls"][0]["inputs"] = ["x"] * size
    content["variants"] = [bundles.variant(parameters=["ptr"] * (size + 1), extra_args=[])]


def symbol_of(content: dict[str, Any], size: int) -> None:
    content["symbols"]["N" * size] = {"min": 1, "opt": 1, "max": 1}
    content["tensors"].append(bundles.tensor("named", "input", ["N" * size]))


def kernel_of(content: dict[str, Any], size: int) -> None:
    content["variants"] = [{**bundles.variant(kernel="k" * size), "id": "k", "ptx": "k.ptx"}]


def in_a_row(content: dict[str, Any], key: str, value: list[Any]) -> None:
    content |= bundles.in_a_row()
    variant = content["variants"][0]
    variant.update(kernel="sums", then=[])
    if key == "workspaces":
        parameters = ["ptr", "i32", "ptr", *["ptr"] * len(value)]
        variant |= bundles.variant(kernel="sums", parameters=parameters, dtypes=["fp32"] * 2, formats=["linear"] * 2)
    variant[key] = value


def kernels(content: dict[str, Any], size: int) -> None:
    then = [bundles.later(f"k{i}", ["ptr", "ptr", "ptr"], []) for i in range(size - 1)]
    in_a_row(content, "then", then)


def workspaces(content: dict[str, Any], size: int) -> None:
    in_a_row(content, "workspaces", [{"bytes": 8, "at_most": 8}] * size)


def cluster(content: dict[str, Any], size: int) -> None:
    in_a_row(content, "cluster_at_launch", [1, size, 1])
    content["variants"][0]["launch"] = bundles.launch(grid_y=size)


def extra_args(content: dict[str, Any], size: int) -> None:
    parameters = ["ptr", *["i32"] * size, "ptr"]
    content["variants"] = [bundles.variant(parameters=parameters, extra_args=[1] * size)]


LIMITED: dict[str, Callable[[dict[str, Any], int], Any]] = {
    "bundle_name_bytes": lambda content, size: content.update(name="n" * size),
    "name_bytes": lambda content, size: rename(content, "y", "\u00e9" * (size // 2) + "y" * (size % 2)),
    "name_bytes of a call": of_call("name"),
    "name_bytes of a plugin": of_call("plugin"),
    "target_bytes": lambda content, size: content.update(target="n" * size),
    "variant_id_bytes": of_variant("id", lambda size: "v" * size),
    "ptx_name_bytes": of_variant("ptx", lambda size: "v" * size),
    "symbols": more_symbols,
    "rank": lambda content, size: content["tensors"][1].update(shape=[1] * size),
    "extent": lambda content, size: content["symbols"]["N"].update(max=size),
    "extra_args": extra_args,
    "expression_depth": of_variant("extra_args", lambda size: [deep(size)]),
    "expression_size": of_variant("extra_args", lambda size: [wide(size - 1 + size % 2)]),
    "tensors": more_calls,
    "call_tensors": many_inputs,
    "symbol_characters": symbol_of,
    "kernel_name_bytes": kernel_of,
    "kernels": kernels,
    "workspaces": workspaces,
    "cluster": cluster,
    "json_depth": lambda content, size: content.update(more=json.loads("[" * (size - 1) + "]" * (size - 1))),
    "tensor_bytes": lambda content, size: content["tensors"][1].update(shape=[2**18, 2**20 + size % 2]),
}


def size_tensor() -> list[Any]:
    return ["size_tensor", 0, 1, 1]


def sized(aliases: str | None, shape: list[Any], size_type: str = "int32") -> dict[str, Any]:
    """A bundle with an output whose first extent another one holds."""
    tensors = [bundles.tensor("x", "input", ["N", 8]), bundles.tensor("y", "output", shape, aliases=aliases)]
    call = {"name": "call", "plugin": "test::copy", "attributes": {}, "inputs": ["x"], "outputs": ["y", "n"]}
    variant = bundles.variant(parameters=["ptr", "i32", "ptr", "ptr"], dtypes=["fp32", "fp32", size_type])
    return bundles.manifest(variant, tensors=[*tensors, bundles.tensor("n", "output", [], size_type)], calls=[call])


def with_y(**changes: Any) -> dict[str, Any]:
    return bundles.manifest(tensors=[bundles.tensor("x", "input", ["N", 8]), bundles.tensor("y", "output", **changes)])


def of_second(**changes: Any) -> dict[str, Any]:
    content = bundles.in_a_row()
    content["variants"][0]["then"][0].update(changes)
    return content


FITS = {
    "plain": bundles.manifest,
    "sized": lambda: sized(None, [["size_tensor", 1, "N", "N"], 8]),
    "row": bundles.in_a_row,
}


REFUSED: dict[str, Callable[[], dict[str, Any]]] = {
    "an entry's name with a digit first": lambda: bundles.manifest(bundles.variant(kernel="1copy")),
    "an entry's name with a blank": lambda: bundles.manifest(bundles.variant(kernel="co py")),
    "a second entry's name": lambda: of_second(kernel="9"),
    "an entry that is not in its PTX": lambda: bundles.manifest(bundles.variant(ptx=bundles.entry("other", ["ptr"]))),
    "other parameters than in the PTX": lambda: bundles.manifest(
        bundles.variant(ptx=bundles.entry("copy", ["ptr"] * 3))
    ),
    "fewer parameters than in the PTX": lambda: bundles.manifest(
        bundles.variant(ptx=bundles.entry("copy", ["ptr"] * 2))
    ),
    "PTX that is none": lambda: bundles.manifest(bundles.variant(ptx="hello")),
    "a grid of a size tensor": lambda: bundles.manifest(bundles.variant(launch=bundles.launch(grid_x=size_tensor()))),
    "an argument that is a size tensor": lambda: bundles.manifest(bundles.variant(extra_args=[size_tensor()])),
    "a workspace of a size tensor": lambda: {
        **bundles.in_a_row(workspaces=[{"bytes": size_tensor(), "at_most": 1}]),
    },
    "a quotient of a size tensor": lambda: of_second(extra_args=[1, ["quotient", size_tensor(), 1]]),
    "a size tensor in a size tensor": lambda: sized(None, [["size_tensor", 1, 1, size_tensor()], 8]),
    "a sum with a size tensor": lambda: sized(None, [["sum", 1, size_tensor()], 8]),
    "a size of another type": lambda: sized(None, [["size_tensor", 1, "N", "N"], 8], "fp32"),
    "an alias whose extent depends on data": lambda: sized("x", [["size_tensor", 1, "N", "N"], 8]),
    "an alias of another shape": lambda: with_y(shape=["N", 4], aliases="x"),
    "an alias of another type": lambda: with_y(shape=["N", 8], dtype="int32", aliases="x"),
    "an extent above the limit": lambda: with_y(shape=[2**31]),
    "a negative extent": lambda: with_y(shape=[["sub", "N", 4097]]),
    "an extent that divides by zero": lambda: with_y(shape=[["floor_div", 8, ["sub", "N", "N"]]]),
    "a cluster of two extents": lambda: bundles.in_a_row(cluster_at_launch=[1, 2]),
    "a cluster that the road does not have": lambda: bundles.manifest(bundles.variant(cluster_at_launch=[1, 2, 1])),
    "a road of another name": lambda: bundles.manifest(road="aot"),
    "a schema of the future": lambda: bundles.manifest(schema="aotfactory.bundle/2"),
    "a schema of the past": lambda: bundles.manifest(schema="aotfactory.bundle/0"),
    "no schema": lambda: bundles.manifest(schema=None),
    "a variant's name twice": lambda: bundles.manifest(bundles.variant(), bundles.variant()),
    "a tactic that is true": lambda: bundles.manifest(bundles.variant(tactic=True)),
    "a symbol that no shape tells": lambda: bundles.manifest(symbols={n: {"min": 0, "opt": 1, "max": 2} for n in "NZ"}),
}
"""What neither Python nor the launcher reads, and Python does not write."""


class TestRules:
    @pytest.mark.parametrize("name", FITS)
    def test_read_by_both(self, launcher: Path, tmp_path: Path, name: str) -> None:
        """The same bundles without what REFUSED changes."""
        bundle = bundles.write(tmp_path, bundles.own_names(FITS[name]()))
        read(bundle)
        assert dry_run(launcher, bundle).passed

    @pytest.mark.parametrize("name", REFUSED)
    def test_refused_by_both(self, launcher: Path, tmp_path: Path, name: str) -> None:
        bundle = bundles.write(tmp_path, bundles.own_names(REFUSED[name]()))
        with pytest.raises(DefinitionError):
            dry_run(launcher, bundle)
        with pytest.raises(DefinitionError):
            read(bundle)

    @pytest.mark.parametrize("name", [n for n in REFUSED if "schema" not in n and "road of" not in n])
    def test_never_written(self, tmp_path: Path, name: str) -> None:
        content = bundles.own_names(REFUSED[name]())
        kernels = [kernel for variant in content["variants"] for kernel in (variant, *variant.get("then", ()))]
        texts = {kernel["ptx"]: kernel["text"] for kernel in kernels}
        with pytest.raises(DefinitionError):
            write(bundle_from_json(content, from_texts(texts)), tmp_path / "sample.aot")
        assert not (tmp_path / "sample.aot").exists()


class TestLimits:
    """limits.json is where both sides have them from: at a limit both read a bundle, above it neither does."""

    @pytest.mark.parametrize("name", LIMITED)
    def test_at_and_above(self, launcher: Path, tmp_path: Path, name: str) -> None:
        limit = name.split()[0]
        for over in (0, 1):
            content = json.loads(json.dumps(bundles.manifest()))
            content["variants"] = [bundles.variant(plugin="test::copy")]
            LIMITED[name](content, LIMITS[limit] + over)
            bundle = bundles.write(tmp_path / str(over), content)
            data = (bundle / "manifest.json").read_bytes()
            if over == 0:
                self.read(data)
                assert dry_run(launcher, bundle, shapes={"x": (1, 8)}).passed
                continue
            with pytest.raises(DefinitionError):
                dry_run(launcher, bundle)
            with pytest.raises((DefinitionError, ValueError)):
                self.read(data)

    @staticmethod
    def read(content: bytes) -> None:
        """As a bundle is read, but for the names of files, which Python's own writer chooses."""
        data = parse_json(content)
        validate(data, "bundle", where="manifest.json", hint="")
        network_from_json(data)
        for expression in data["variants"][0]["extra_args"]:
            from_json(expression)

    def test_every_limit_is_compiled_in(self, launcher: Path, tmp_path: Path) -> None:
        header = tmp_path / "limits.h"
        script = ["cmake", f"-DJSON={cmake.LIMITS}", f"-DHEADER={header}", "-P", cmake.SOURCES / "limits.cmake"]
        subprocess.run(script, check=True)
        found = dict(re.findall(r"int64_t (\w+) = (\d+);", header.read_text()))
        assert {name: int(value) for name, value in found.items()} == dict(LIMITS)
