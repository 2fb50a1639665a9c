# SPDX-License-Identifier: Apache-2.0
"""From a module of plugin definitions to its checks, for tests."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotfactory.compiler.compile import CompiledVariant, Options, compile_network
from aotfactory.core.arch import PtxIsa, Road, parse_archs
from aotfactory.core.check import Check
from aotfactory.core.network import Network, NetworkInput, Profile
from aotfactory.executors.effort import DEFAULT_EFFORT, Effort
from aotfactory.executors.interpreter import check as interpreter
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets import network_builder

MODULES = Path(__file__).parent / "modules"

_numbers = itertools.count()


@dataclass(frozen=True)
class Built:
    """What came out; `checks` by name, of the only variant."""

    network: Network
    results: list[CompiledVariant]
    found: list[Check]

    @property
    def result(self) -> CompiledVariant:
        (result,) = self.results
        return result

    @property
    def variant(self) -> Any:
        assert self.result.variant is not None, self.found
        return self.result.variant

    @property
    def checks(self) -> dict[str, Check]:
        assert len(self.results) == 1
        return {check.name: check for check in self.found}

    @property
    def failed(self) -> dict[str, str]:
        """Details of the checks that failed, by name."""
        return {check.name: check.detail for check in self.found if check.status == "failed"}


def write(folder: Path, text: str) -> Path:
    """A module of its own for this text."""
    path = folder / f"built_{next(_numbers)}.py"
    path.write_text(text)
    return path


def edited(folder: Path, module: Path, edits: Mapping[str, str] | None = None) -> tuple[str, list[str]]:
    """Load a copy of a module in which each old text, which stands in it once, is replaced: plugin id, sources."""
    text = module.read_text()
    for old, new in (edits or {}).items():
        assert text.count(old) == 1, f"{old!r} is in {module.name} {text.count(old)} times"
        text = text.replace(old, new)
    path = write(folder, text)
    plugin = f"{path.stem}::{module.stem}"
    path.write_text(re.sub(rf'"\w+::{module.stem}"', f'"{plugin}"', text))
    return plugin, load(path)


def network(
    plugin: str,
    *inputs: NetworkInput,
    attributes: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = (),
    length: int = 1,
) -> Network:
    """A network of one plugin, applied `length` times."""
    name = plugin.split("::")[1]
    return network_builder.chain(
        name=name,
        target=plugin,
        plugin_id=plugin,
        inputs=inputs,
        attributes=attributes or {},
        outputs=outputs,
        length=length,
    )


def tensor(name: str, shape: str, dtype: str = "fp32") -> NetworkInput:
    """An input, its shape written "N=1/7/64 48": a dynamic dimension by name, with its minimum, optimum, maximum."""
    names, ends = [], []
    for axis, item in enumerate(shape.split()):
        symbol, _, extents = item.rpartition("=")
        numbers = [int(n) for n in extents.split("/")]
        ends.append(numbers * 3 if len(numbers) == 1 else numbers)
        names.append(symbol or f"{name}_{axis}")
    low, opt, high = (tuple(e[i] for e in ends) for i in range(3))
    return NetworkInput(name=name, dtype=dtype, profile=Profile(min=low, opt=opt, max=high), dims=tuple(names))


def build(
    made: Network,
    sources: Sequence[str] = (),
    *,
    archs: str = "portable",
    isa: str | None = None,
    interpret: bool = True,
    all_dtypes: bool = False,
    tactic: int | None = None,
    road: Road = "aot",
    effort: Effort = DEFAULT_EFFORT,
) -> Built:
    """Compile and check a network; `sources` are the modules that the interpreter's process loads."""
    options = Options(
        archs=parse_archs(archs),
        isa=PtxIsa.parse(isa) if isa else None,
        all_dtypes=all_dtypes,
        tactic=tactic,
        road=road,
    )
    results = compile_network(made, options, lambda name: None)
    found = [check for result in results for check in result.checks]
    if interpret:
        found += interpreter.check(made, results, sources, effort)
    return Built(made, results, found)


def load(path: Path) -> list[str]:
    """Load a module of definitions; what the interpreter's process needs to do the same."""
    return Catalog([str(path)]).sources
