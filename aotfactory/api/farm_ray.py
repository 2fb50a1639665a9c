# SPDX-License-Identifier: Apache-2.0
"""The builds, plans and validations of a farm on a Ray cluster, and through it on Slurm or Kubernetes.

Every node has the same aotfactory and sees the same files at the same places. What comes home from a node is the entry
of its cache, from which the engine is then written here: by the same code, and so of the same bytes, as a local build.
Builds ask for a CPU; a plan or validation asks for a resource that is called like its architecture, which nodes with
such a GPU have: ``ray start --resources '{"sm_90": 1}'``.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from aotfactory.api import farm, farm_validate, finished
from aotfactory.api.bake import bake
from aotfactory.api.farm import Made
from aotfactory.api.farm_bake import plan_options
from aotfactory.api.farm_file import Engine
from aotfactory.api.farm_steps import Bake, Later, Validate
from aotfactory.api.validate import validate
from aotfactory.core.arch import PORTABLE
from aotfactory.core.cache import Cache, open_cache
from aotfactory.core.check import Check, nothing_judged
from aotfactory.core.errors import AotError, EngineError, NoClusterError, NoPackageError
from aotfactory.core.workers import Outcome
from aotfactory.plan import record as provenance
from aotfactory.plan.builder import Plan

RETRIES = 3
"""How often a build is begun anew after its worker or node was lost."""


def connect() -> None:
    """Connect to the cluster of ``RAY_ADDRESS``, or start one on this machine.

    Raises:
        MissingError: Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise NoPackageError("Ray is not installed", hint='pip install "aotfactory[ray]"') from error
    if ray.is_initialized():
        return
    try:
        ray.init(log_to_driver=True, configure_logging=False, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise NoClusterError(
            f"no Ray cluster: {error}", hint="set RAY_ADDRESS, or start one: ray start --head"
        ) from error


def builds(
    engines: Sequence[Engine], cache: Cache, cores: int, stop: Callable[[], bool]
) -> Iterator[tuple[int, Outcome[Made]]]:
    """Each engine's index, and what became of it; what was built is in `cache` then.

    Args:
        cores: CPUs that each build asks of its node, and uses.
    """
    import ray

    # A process for each build: plugins of one name must not meet, as they would in a worker that is used again.
    build = ray.remote(num_cpus=cores, max_calls=1, max_retries=RETRIES)(_build)
    waiting = {build.remote(e, farm.key_of(e), os.getcwd(), cores): i for i, e in enumerate(engines)}
    try:
        while waiting and not stop():
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            index = waiting.pop(done)
            try:
                made, entry = ray.get(done)
            except ray.exceptions.RayError as error:
                yield index, Outcome(error=EngineError(f"it was lost {RETRIES + 1} times: {_last(error)}"))
                continue
            if entry is not None:
                cache.put(finished.KIND, farm.key_of(engines[index]), entry)
            yield index, Outcome(made)
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def _build(engine: Engine, key: str, directory: str, cores: int) -> tuple[Made, bytes | None]:
    """Build an engine on the node that this runs on; with the entry of its cache if all went well."""
    try:
        os.chdir(directory)
    except OSError as error:
        problem = NoClusterError(f"a node of the cluster has no {directory}", hint="give all nodes the same files")
        return Made(engine=engine, status="error", error=problem.with_traceback(error.__traceback__)), None
    if farm.key_of(engine) != key:
        message = "a node of the cluster has another aotfactory, Triton, TensorRT or Python"
        return Made(engine=engine, status="error", error=NoClusterError(message, hint="install the same on all")), None
    with tempfile.TemporaryDirectory(prefix="aotfactory-ray-") as folder:
        cache = open_cache() or Cache(Path(folder, "cache"))
        made = farm.attempt(engine, Path(folder, "engines"), cache, cores, "built")
        return made, cache.get(finished.KIND, key)


def home(made: Made, out: Path, cache: Cache) -> Made:
    """Write an engine that a node built, from the entry that came home."""
    if made.status != "built":
        return made
    written = farm.attempt(made.engine, out, cache, 1, "cached")
    return written if written.error else replace(made, report=written.report)


def bakes(cache: Cache, required: bool) -> Bake | None:
    """How plans are made on the cluster; None where no node has a resource that is called like an architecture.

    Args:
        required: Raise instead.
    """
    there = _architectures()
    if there or required:
        return partial(_bake_there, cache, there or _none())
    return None


def validates(cache: Cache) -> Validate:
    """How engines are validated on the cluster: on nodes that have a resource called like their architecture.

    Raises:
        MissingError: There is no such node.
    """
    return partial(_validate_there, cache, _architectures() or _none())


def _architectures() -> set[str]:
    """The architectures that the cluster's nodes say they have."""
    import ray

    return {name for name in ray.cluster_resources() if name == PORTABLE.name or re.fullmatch(r"sm_\d+", name)}


def _none() -> NoReturn:
    hint = """start the nodes with: ray start --resources '{"sm_90": 1}'"""
    raise NoClusterError("no node of the cluster says which GPU it has", hint=hint)


def _bake_there(cache: Cache, there: set[str], bundle: Path, engine: Engine) -> Later | None:
    """Make the plan beside a bundle on a node with its GPU, if there is one."""

    def come_home(made: tuple[Plan, dict[str, Any]]) -> Sequence[Check]:
        plan, record = made
        record["bundle"]["path"] = str(bundle.resolve())
        provenance.write(plan, record, bundle.with_suffix(".plan"))
        return ()

    if engine.arch.name not in there:
        return None
    return _OnItsGpu(_bake, "its plan was not made", cache, engine, come_home)


def _validate_there(cache: Cache, there: set[str], bundle: Path, engine: Engine) -> Sequence[Check] | Later:
    """Run a bundle on a node with its GPU, if there is one."""
    if engine.arch.name not in there:
        return farm_validate.skipped(bundle, f"no node of the cluster has the resource {engine.arch.name}")
    return _OnItsGpu(_validate, "it was not validated", cache, engine, lambda found: found)


class _OnItsGpu:
    """Work with a bundle on a node that has its architecture's resource; begun anew where a node is lost.

    Args:
        work: Given the engine, the entry of the cache with its bundle, and our directory.
        problem: Begins the message of what goes wrong.
        home: Makes the step's checks of what comes home.
    """

    def __init__(
        self,
        work: Callable[..., Any],
        problem: str,
        cache: Cache,
        engine: Engine,
        home: Callable[[Any], Sequence[Check]],
    ) -> None:
        import ray

        self._problem, self._home = problem, home
        entry = cache.get(finished.KIND, farm.key_of(engine))
        if entry is None:
            raise EngineError(f"{problem}: its bundle is not in the cache any more", hint="start the farm again")
        # A process for each: CUDA is begun anew, and what TensorRT holds of the GPU's memory ends with it.
        task = ray.remote(num_cpus=1, resources={engine.arch.name: 1}, max_calls=1, max_retries=RETRIES)(work)
        self._reference = task.remote(engine, entry, os.getcwd())

    def ready(self) -> bool:
        import ray

        return bool(ray.wait([self._reference], timeout=0)[0])

    def result(self) -> Sequence[Check]:
        import ray

        try:
            found = ray.get(self._reference)
        except ray.exceptions.RayError as error:
            raise EngineError(f"{self._problem}: {_last(error)}") from error
        if isinstance(found, AotError):
            raise EngineError(f"{self._problem}: {found.message}", hint=found.hint)
        return self._home(found)

    def cancel(self) -> None:
        import ray

        with suppress(ray.exceptions.RayError):  # the cluster may be gone
            ray.cancel(self._reference, force=True)


def _bake(engine: Engine, entry: bytes, directory: str) -> tuple[Plan, dict[str, Any]] | AotError:
    """Make a plan on the node that this runs on, from the bundle in an entry of the cache."""
    try:
        with _unpacked(engine, entry, directory) as bundle:
            baked = bake(bundle, options=plan_options(engine), cache=open_cache())
    except AotError as error:
        return error
    return baked.plan, baked.record


def _validate(engine: Engine, entry: bytes, directory: str) -> list[Check] | AotError:
    """Run the bundle in an entry of the cache on the GPU of the node that this runs on."""
    try:
        with _unpacked(engine, entry, directory) as bundle:
            found = validate(bundle, plugins=engine.plugins, executors=[farm_validate.EXECUTOR])
    except AotError as error:
        return error
    lacking = nothing_judged(found, [farm_validate.EXECUTOR])
    return EngineError(f"{lacking}; the node says that it has {engine.arch}") if lacking else found


@contextmanager
def _unpacked(engine: Engine, entry: bytes, directory: str) -> Iterator[Path]:
    """The bundle in an entry of the cache, as files on the node that this runs on."""
    os.chdir(directory)
    with tempfile.TemporaryDirectory(prefix="aotfactory-ray-") as folder:
        here = Cache(Path(folder, "cache"))
        here.put(finished.KIND, farm.key_of(engine), entry)
        written = farm.attempt(engine, Path(folder), here, 1, "cached")
        if written.error:
            raise written.error
        yield Path(folder, f"{engine.name}.aot")


def _last(error: BaseException) -> str:
    """The last line that Ray says: the others are where it was."""
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
