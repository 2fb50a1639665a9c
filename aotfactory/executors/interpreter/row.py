# SPDX-License-Identifier: Apache-2.0
"""The kernels of one variant, with the arguments that each is launched with; most variants have one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from aotfactory.core import arguments, expressions
from aotfactory.core.arguments import Argument
from aotfactory.core.expressions import Expr
from aotfactory.core.network import Call
from aotfactory.executors.interpreter.kernel import Buffer, Program, Wide
from aotfactory.plugins.returned_kernel import ReturnedKernel


@dataclass(frozen=True, kw_only=True)
class Step:
    """One launch.

    Attributes:
        source: What Triton compiled (`ASTSource`).
        kinds: Types of the extra arguments.
    """

    source: Any
    launch: Mapping[str, Expr]
    extra_args: Sequence[Argument]
    kinds: Sequence[str]

    def grid(self, symbols: Mapping[str, int]) -> Program:
        """How many programs along each axis: a launch counts blocks, of which a cluster has several for one."""
        x, y, z = (self.launch[f"grid_{axis}"].evaluate(symbols) for axis in "xyz")
        return x // getattr(self.source, "num_ctas", 1), y, z

    def arguments(
        self, call: Call, symbols: Mapping[str, int], buffers: Mapping[str, Buffer], workspaces: Sequence[Buffer]
    ) -> list[Buffer | int | float]:
        """As the launcher passes them."""
        values = [argument.evaluate(symbols) for argument in self.extra_args]
        return [
            *(buffers[n] for n in call.inputs),
            *(
                Wide(value) if kind == "i64" else value
                for value, kind in zip_longest(values, self.kinds[: len(values)])
            ),
            *(buffers[n] for n in call.outputs),
            *workspaces,
        ]


@dataclass(frozen=True, kw_only=True)
class Row:
    """The launches of a variant, in order, and the bytes of its workspaces."""

    steps: Sequence[Step]
    workspaces: Sequence[Expr]

    @classmethod
    def of_kernel(cls, sources: Sequence[Any], kernel: ReturnedKernel) -> Row:
        """As an `aot_impl` returned it."""
        row = zip(sources, kernel.in_a_row, strict=True)
        steps = [Step(source=s, launch=k.launch, extra_args=k.extra_args, kinds=k.kinds) for s, k in row]
        return cls(steps=steps, workspaces=kernel.workspaces)

    @classmethod
    def of_job(cls, job: Mapping[str, Any], sources: Sequence[Any], kernel: ReturnedKernel) -> Row:
        """With the launches of the compiled variant, as `check` describes it."""
        launches = [job, *job.get("then", ())]
        steps = [
            Step(
                source=source,
                launch={n: expressions.from_json(e) for n, e in found["launch"].items()},
                extra_args=[arguments.from_json(e) for e in found["extra_args"]],
                kinds=returned.kinds,
            )
            for source, found, returned in zip(sources, launches, kernel.in_a_row, strict=True)
        ]
        return cls(steps=steps, workspaces=[expressions.from_json(e) for e in job.get("workspaces", ())])

    @property
    def several(self) -> bool:
        return len(self.steps) > 1

    def make_workspaces(self, symbols: Mapping[str, int], *, vast: bool = False) -> list[Buffer]:
        """Memory that holds nothing: a kernel that reads of it what none wrote is wrong.

        Args:
            vast: Whether they may be too large for data, as the tensors are.

        Raises:
            OSError: There are no addresses for them.
        """
        sizes = [expr.evaluate(symbols) for expr in self.workspaces]
        if vast:
            return [Buffer.vast(f"workspace {i}", size, initialised=False) for i, size in enumerate(sizes)]
        empty = [np.zeros(size, np.uint8) for size in sizes]
        return [Buffer(f"workspace {i}", array, initialised=False) for i, array in enumerate(empty)]
