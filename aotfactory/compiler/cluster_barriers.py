# SPDX-License-Identifier: Apache-2.0
"""Barriers of a thread block cluster that need not wait for memory as they are written, which costs microseconds each.

A plain ``barrier.cluster.arrive`` makes every earlier access of the block visible to its cluster: the GPU waits, in
each warp, until all stores have reached L2 and all loads are back (MEMBAR.ALL.GPU in machine code). Grammar and memory
model: NVIDIA's "PTX ISA", instructions ``barrier.cluster`` and ``fence``, and the chapter on memory consistency.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from aotfactory.core.arch import PtxIsa

RELAXED = PtxIsa(8, 0)
RESTRICTED = PtxIsa(8, 6)
"""The oldest ISA with barriers that are relaxed; and with fences of shared memory alone."""

_LAST = re.compile(
    r"(\bbarrier\.cluster\.arrive)(?:\.release)?((?:\.aligned)?;\s*barrier\.cluster\.wait(?:\.acquire)?(?:\.aligned)?;\s*ret;)"
)
"""At the end of what Triton compiles: keeps a block's shared memory alive until its cluster has read it."""

_ARRIVE = re.compile(r"barrier\.cluster\.arrive(?:\.release)?(\.aligned)?")
_WAIT = re.compile(r"barrier\.cluster\.wait(?:\.acquire)?(?:\.aligned)?")
_FENCE = "fence.release.sync_restrict::shared::cta.cluster;\n"

_WRITE = re.compile(r"\b(?:st|red|atom|mbarrier|multimem|cp\.async\.bulk|call)\b[\w.:]*")
_OWN_SPACE = re.compile(r"\.(?:global|local|shared(?!::cluster))\b(?!.*shared::cluster)")

_QUIET = re.compile(
    r"(?:st|ld(?!matrix))(?:\.\w+)*?\.(?:shared(?:::cta)?|local|param|const)\b(?!::)|ld(?:\.(?!acquire|relaxed|volatile|mmio)\w+)*?\.global\b|ldmatrix\b"
)
"""Accesses of a block's own memory, and loads from global memory: all that an exchange may come after. But for loads
that others may have stored something for: what they make known, the barrier has to hand on."""

_NOISY = re.compile(r"(?:st|ld|ldu|red|atom|cp|mbarrier|multimem|tensormap|call|fence|membar|wgmma|tcgen05)\b")
_LABEL = re.compile(r"([\w$%]+)\s*:(?!:)")


class Edit(NamedTuple):
    """New text for a span of a kernel's body."""

    start: int
    end: int
    text: str


def edits(body: str, version: PtxIsa, *, shared: bool) -> list[Edit]:
    """What to write instead in a kernel's body, for barriers of a cluster to wait for no more than they have to.

    * The last barrier of a kernel is made relaxed: nothing follows for which earlier accesses would have to be in
      order, and a kernel's end makes its stores visible. As written, each block waits until they are, and the next one
      cannot start meanwhile. A store to another block's shared memory, though, must have arrived before that block
      ends.
    * The first exchange of a kernel gets a fence of the block's own shared memory, and a relaxed barrier: where no path
      to it has written anything else, nor read other blocks' shared memory, there is no more to make visible; and what
      was loaded from global memory, no other block writes, since inputs and outputs are apart (not `shared`).

    Args:
        shared: Whether blocks may load from a buffer that others store to: an output in an input's, or a workspace.
    """
    found: list[Edit] = []
    if version >= RELAXED and all(_OWN_SPACE.search(opcode) for opcode in _WRITE.findall(body)):
        found += [Edit(*last.span(), f"{last[1]}.relaxed{last[2]}") for last in _LAST.finditer(body)]
    if version >= RESTRICTED and not shared and "brx" not in body:  # which may lead anywhere
        taken = [range(edit.start, edit.end) for edit in found]
        for start, arrive in _first_exchanges(body):
            if not any(start in span for span in taken):
                text = f"{_FENCE}barrier.cluster.arrive.relaxed{arrive[1] or ''}"
                found.append(Edit(start, start + len(arrive[0]), text))
    return found


def _first_exchanges(body: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Where a barrier arrives, to be waited for at once, before anything but own shared memory has been written."""
    statements = list(_statements(body))
    noisy_at: dict[str, bool] = {}
    while True:
        # Whether something has been accessed that a barrier may have to wait for; None: where no path leads.
        noisy: bool | None = False
        before, found = dict(noisy_at), []
        for (start, text), (_, following) in zip(statements, [*statements[1:], (0, "")], strict=True):
            if label := _LABEL.fullmatch(text):
                name = label[1]
                paths = [path for path in (noisy, noisy_at.get(name)) if path is not None]
                noisy = any(paths) if paths else None
                continue
            code = re.sub(r"^@!?[\w%$]+\s+", "", text)
            if branch := re.match(r"bra(?:\.uni)?\s+([\w$%]+)", code):
                if noisy is not None:
                    noisy_at[branch[1]] = noisy_at.get(branch[1], False) or noisy
                noisy = noisy if code != text else None
            elif re.match(r"(?:ret|exit)\b", code):
                noisy = noisy if code != text else None
            elif (arrive := _ARRIVE.fullmatch(code)) and code == text and _WAIT.fullmatch(following):
                if noisy is False:
                    found.append((start, arrive))
            elif _NOISY.match(code) and not _QUIET.match(code) and noisy is not None:
                noisy = True
        if noisy_at == before:
            yield from found
            return


def _statements(body: str) -> Iterator[tuple[int, str]]:
    """Labels (with their colon) and instructions, each with its offset; scopes' braces are left out."""
    position = 0
    while position < len(body):
        blank = re.compile(r"[\s{}]*").match(body, position)
        position = blank.end() if blank else position
        if label := _LABEL.match(body, position):
            yield position, label[0]
            position = label.end()
            continue
        end = body.find(";", position)
        end = len(body) if end < 0 else end
        if text := body[position:end].strip():
            yield position, text
        position = end + 1
