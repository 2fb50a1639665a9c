# SPDX-License-Identifier: Apache-2.0
"""``aotfactory farm``: every engine of a farm.toml, what has not changed from the cache, the others on all cores.

Each engine that has to be made gets a process of its own, forked from one that has Triton and TensorRT loaded: plugins
of one name do not meet there, and what a definition reads is its own. An engine that is done is on disk and in the
cache, so a farm that was killed goes on where it was.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Literal

from aotfactory.api import build, engine_index, finished
from aotfactory.api.farm_file import Engine, FarmFile
from aotfactory.api.farm_ledger import SCHEMA as SCHEMA
from aotfactory.api.farm_ledger import Ledger, read_state
from aotfactory.api.farm_ledger import Made as Made
from aotfactory.api.farm_steps import Bake, Steps, Validate, first_failure
from aotfactory.compiler.options import Options
from aotfactory.core import workers
from aotfactory.core.arch import Arch
from aotfactory.core.cache import Cache
from aotfactory.core.errors import AotError, EngineError, OptionsError, OptionValueError


@dataclass(frozen=True, kw_only=True)
class FarmResult:
    """The outcome of a farm, in the file's order."""

    made: Sequence[Made]
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The exit code of the first engine that went wrong: 1 for a failed check, else as the error has it."""
        wrong = [made for made in self.made if made.status in ("failed", "error")]
        return 0 if not wrong else wrong[0].error.exit_code if wrong[0].error else 1


def selected(farm: FarmFile, only: Sequence[str]) -> list[Engine]:
    """The engines whose names match one of the patterns; all, if there are none.

    Raises:
        UsageError: A pattern matches nothing.
    """
    for pattern in only:
        if not any(fnmatchcase(engine.name, pattern) for engine in farm.engines):
            names = ", ".join(engine.name for engine in farm.engines[:5])
            raise OptionValueError(f"--only {pattern} matches no engine", hint=f"engines are {names}, ...")
    return [e for e in farm.engines if not only or any(fnmatchcase(e.name, pattern) for pattern in only)]


def plan(engines: Iterable[Engine], cache: Cache | None) -> dict[str, str | None]:
    """For each engine by name, why it must be built; None: it is in the cache."""
    return {engine.name: _why_not(engine, cache) for engine in engines}


def estimate(out: Path, engines: Sequence[Engine], why: Mapping[str, str | None], jobs: int) -> float | None:
    """Seconds that the engines may take, by what they took before; None where nothing is known.

    Args:
        why: What `plan` says of them.
    """
    known: dict[str, float] = {n: e["seconds"] for n, e in read_state(out).items() if e.get("seconds")}
    if not known:
        return None
    mean = sum(known.values()) / len(known)
    return sum(known.get(e.name, mean) for e in engines if why[e.name]) / jobs


def run_farm(
    engines: Sequence[Engine],
    *,
    out: Path,
    cache: Cache | None,
    jobs: int,
    keep_going: bool = False,
    bake: Bake | None = None,
    validate: Validate | None = None,
    ray: bool = False,
    report: Callable[[Made, int], None] = lambda made, left: None,
) -> FarmResult:
    """Make engines.

    Args:
        jobs: How many at once.
        keep_going: Make the others after one went wrong, too.
        bake: Makes the plan of each bundle; None: bundles are what is made.
        validate: Runs each bundle on a GPU, every time it is asked to.
        ray: Build on a Ray cluster (see `farm_ray`), which needs a cache.
        report: Told of each engine when it is done, and how many must still be built.
    """
    started = time.monotonic()
    if ray and cache is None:
        raise OptionsError("--executor ray needs the cache: what nodes built comes home through it", hint="allow one")
    run = _Run(out, cache, jobs, keep_going, bake, validate, ray, report)
    try:
        run.all(engines)
    finally:
        run.steps.cancel()
        run.ledger.write()
    if cache:
        cache.trim()
    made = [run.made.get(e.name) or Made(engine=e, status="not begun") for e in engines]
    return FarmResult(made=made, seconds=time.monotonic() - started, counts=Counter(m.status for m in made))


class _Run:
    """One run over the engines; those that are alike but for their names or plans are built once."""

    def __init__(
        self,
        out: Path,
        cache: Cache | None,
        jobs: int,
        keep_going: bool,
        bake: Bake | None,
        validate: Validate | None,
        ray: bool,
        report: Callable[[Made, int], None],
    ) -> None:
        self.out, self.cache, self.jobs, self.keep_going = out, cache, jobs, keep_going
        self.ray, self.report, self.ledger = ray, report, Ledger(out)
        self.steps = Steps(out, (bake, validate), self._settled, lambda: self.stopped)
        self.made: dict[str, Made] = {}
        self.why: dict[str, str | None] = {}
        self.left = 0
        self.stopped = False

    def all(self, engines: Sequence[Engine]) -> None:
        alike: dict[str, list[Engine]] = defaultdict(list)
        for engine in engines:
            alike[key_of(engine) if self.cache else engine.name].append(engine)
        self.why = plan((group[0] for group in alike.values()), self.cache)
        missing = [group for group in alike.values() if self.why[group[0].name]]
        self.left = len(missing)
        for group in alike.values():
            if not self.why[group[0].name]:
                self._reuse(group)
        if missing and not self.stopped:
            self._build(missing)
        self.steps.settle(wait=True)

    def _build(self, groups: Sequence[Sequence[Engine]]) -> None:
        """Build the first engine of each group in a process of its own; the others are then in the cache."""
        for index, outcome in self._outcomes([group[0] for group in groups]):
            first, others = groups[index][0], groups[index][1:]
            made = outcome.value or Made(engine=first, status="error", error=_as_aot(outcome.error))
            self.left -= 1
            self.steps.begin(made)
            if made.status == "built":
                self._reuse(others)
            else:
                for other in others:
                    self.steps.begin(replace(made, engine=other))

    def _outcomes(self, engines: Sequence[Engine]) -> Iterator[tuple[int, workers.Outcome[Made]]]:
        """Each engine's index and what became of it, as they are done."""
        share = max(1, self.jobs // len(engines))
        if self.ray and self.cache:
            from aotfactory.api import farm_ray

            for index, outcome in farm_ray.builds(engines, self.cache, 1, lambda: self.stopped):
                made = outcome.value and farm_ray.home(outcome.value, self.out, self.cache)
                yield index, workers.Outcome(made, outcome.error)
            return
        _load((engine.arch for engine in engines), self.cache)
        tasks = [partial(attempt, engine, self.out, self.cache, share, "built") for engine in engines]
        yield from workers.completed(tasks, self.jobs, isolated=True, keep_going=True, stop=lambda: self.stopped)

    def _reuse(self, group: Sequence[Engine]) -> None:
        """Take engines from the cache; one that was dropped from it meanwhile is built again."""
        for engine in group:
            if self.stopped:
                return
            why = _why_not(engine, self.cache)
            if why is None:
                self.steps.begin(attempt(engine, self.out, self.cache, 1, "cached"))
            else:
                self.why[engine.name] = why
                for _, outcome in self._outcomes([engine]):
                    self.steps.begin(outcome.value or Made(engine=engine, status="error", error=_as_aot(outcome.error)))

    def _settled(self, made: Made) -> None:
        if made.status != "cached":
            made = replace(made, because=self.why.get(made.engine.name))
        self.ledger.add(made)
        self.report(made, self.left)
        # The whole report is on disk: ten thousand of them are not to be held as well.
        kept = made.report and {"bundle": made.report["bundle"]}
        self.made[made.engine.name] = replace(made, report=kept)
        self.stopped = self.stopped or (made.error is not None and not self.keep_going)


def attempt(engine: Engine, out: Path, cache: Cache | None, jobs: int, status: Literal["built", "cached"]) -> Made:
    """Build one engine, in this process; `status` is what it is to be called if all goes well."""
    started = time.monotonic()
    try:
        built = build.build_bundle(
            engine.target,
            request=engine.request,
            options=_options(engine),
            out=out,
            plugins=engine.plugins,
            cache=cache,
            jobs=jobs,
            name=engine.name,
            plain=True,
            listed=False,
        )
    except AotError as error:
        return Made(engine=engine, status="error", error=error)
    seconds = round(time.monotonic() - started, 3)
    document = engine_index.document(built.bundle, built.to_json())
    if built.failed:
        return Made(engine=engine, status="failed", seconds=seconds, report=document, error=first_failure(built.failed))
    return Made(engine=engine, status=status, seconds=seconds if status == "built" else 0.0, report=document)


def to_json(result: FarmResult) -> dict[str, Any]:
    """The result as ``farm --format json`` prints it."""
    engines = [
        {
            "name": made.engine.name,
            "target": made.engine.target,
            "arch": made.engine.arch.name,
            "status": made.status,
            "seconds": made.seconds,
            "because": made.because,
            "bundle": made.report["bundle"] if made.report else None,
            "error": made.problem,
        }
        for made in result.made
    ]
    return {
        "schema": SCHEMA,
        "engines": engines,
        "counts": dict(result.counts),
        "seconds": round(result.seconds, 3),
    }


def _as_aot(error: BaseException | None) -> AotError:
    return error if isinstance(error, AotError) else EngineError(f"it was not built: {error}")


def _options(engine: Engine) -> Options:
    return Options(archs=(engine.arch,), isa=engine.isa, all_dtypes=engine.all_dtypes, tactic=engine.tactic)


def key_of(engine: Engine) -> str:
    return finished.key_for(engine.target, engine.request, _options(engine), engine.plugins, True)


def _why_not(engine: Engine, cache: Cache | None) -> str | None:
    """Why an engine must be built; None: it is in the cache."""
    return "no cache" if cache is None else finished.why_not(cache, key_of(engine))


def _load(archs: Iterable[Arch], cache: Cache | None) -> None:
    """Load what every build needs, before processes are forked from this one."""
    from aotfactory.api import making  # noqa: F401
    from aotfactory.compiler import ptxas
    from aotfactory.compiler.triton_cache import prepare
    from aotfactory.compiler.warm_up import warm_up

    prepare({arch.capability for arch in archs}, cache)
    ptxas.identity()
    warm_up()
