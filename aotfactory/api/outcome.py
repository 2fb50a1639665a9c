# SPDX-License-Identifier: Apache-2.0
"""Outcomes of a validation: which executors ran, and what each check's detail says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from aotfactory.api.executors import BY_NAME
from aotfactory.core.check import Check, Compared
from aotfactory.core.errors import AotError, MissingError
from aotfactory.core.network import Network
from aotfactory.plugins.catalog import Catalog


class Outcome:
    """One check for each name, of which the first thing that goes wrong decides."""

    def __init__(self, subject: str, names: Iterable[str]) -> None:
        self.subject = subject
        self.found: dict[str, Check | None] = dict.fromkeys(names)

    @property
    def open(self) -> list[str]:
        return [name for name, check in self.found.items() if check is None]

    @property
    def running(self) -> list[str]:
        return [name for name in self.open if name in BY_NAME]

    @property
    def checks(self) -> list[Check]:
        return [check for check in self.found.values() if check is not None]

    def settle(self, name: str, status: Literal["passed", "failed", "skipped"], detail: str) -> None:
        compared: Compared | None = None
        if name in BY_NAME:
            ran = "reference" if "against the reference" in detail or status == "failed" else "memory"
            compared = "nothing" if status == "skipped" else ran  # type: ignore[assignment]
        self.found[name] = Check(name=name, subject=self.subject, status=status, detail=detail, compared=compared)

    @contextmanager
    def of(self, name: str, at: object = "") -> Iterator[None]:
        """An error raised inside decides the check: skipped for what the machine lacks, else failed."""
        try:
            yield
        except AotError as error:
            where = f" ({error.where})" if error.where else ""
            detail = " ".join(f"{error.message}{where}".split()) + (f"; at {at}" if at else "")
            self.settle(name, "skipped" if isinstance(error, MissingError) else "failed", detail)


def catalog_for(network: Network, plugins: Iterable[str]) -> Catalog:
    """The recipes of a network's plugins, from --plugins, the shipped kernels and installed packages."""
    catalog = Catalog(plugins)
    if any(catalog.for_plugin(call.plugin) is None for call in network.calls):
        catalog.load_all()
    return catalog
