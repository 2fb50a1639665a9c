# SPDX-License-Identifier: Apache-2.0
"""The registry of executors, and what stands in step with it."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from aotfactory.api import executors
from aotfactory.api.validate import run_executors
from aotfactory.cli import options
from aotfactory.compiler.manifest import Bundle
from aotfactory.core import check
from aotfactory.core.check import Check
from aotfactory.core.errors import ExecutorError
from aotfactory.core.network import Network
from aotfactory.executors.effort import Effort
from aotfactory.executors.executor import BundleExecutor, BundleJob
from aotfactory.plan.executor import PlanExecutor
from aotfactory.plugins.catalog import Catalog

NAMES = [executor.name for executor in executors.EXECUTORS]


def test_the_command_line_offers_them() -> None:
    assert {executor.value for executor in options.Executor} == set(NAMES)


def test_each_has_a_check_of_its_name() -> None:
    assert set(NAMES) <= set(check.NAMES)


@pytest.mark.parametrize("executor", executors.EXECUTORS, ids=NAMES)
def test_each_is_what_its_protocol_asks_for(executor: executors.Executor) -> None:
    module = executor.load()
    if executor.artifact == "bundle":
        wanted = inspect.signature(BundleExecutor.check).parameters
        assert ["self", *inspect.signature(module.check).parameters] == list(wanted)
        return
    made = module.make(None)
    for name, member in vars(PlanExecutor).items():
        if not name.startswith("_") and callable(member):
            assert inspect.signature(getattr(type(made), name)) == inspect.signature(member), name
    assert isinstance(made.needs_reference, bool)


def test_one_more_takes_a_module_and_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "looks.py").write_text(
        "from aotfactory.core.check import Check\n"
        "def check(job):\n"
        "    return [Check(name='looks', subject=job.path.name, status='passed', detail=str(job.effort.seconds))]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    class Looks(executors.Executor):
        def load(self) -> object:
            import looks  # type: ignore[import-not-found]

            return looks

    entry = Looks(name="looks", artifact="bundle", home="", alone="nothing")
    more = (*executors.EXECUTORS, entry)
    for module in (executors, inspect.getmodule(run_executors)):
        monkeypatch.setattr(module, "EXECUTORS", more)
    network = Network(name="n", target="n", ranges={}, tensors=(), calls=())
    bundle = Bundle(network=network, variants=(), versions={})
    job = BundleJob(path=tmp_path, bundle=bundle, catalog=Catalog(), effort=Effort(seconds=3), progress=print)
    assert executors.choose(["looks"], "bundle") == ("looks",)
    assert run_executors(["looks"], job) == [Check(name="looks", subject=tmp_path.name, status="passed", detail="3")]


def test_of_the_other_artifact() -> None:
    with pytest.raises(ExecutorError, match="trtexec does not run a bundle"):
        executors.choose(["trtexec"], "bundle")
