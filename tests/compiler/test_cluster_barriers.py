# SPDX-License-Identifier: Apache-2.0
"""Barriers of a thread block cluster, which wait for no more than they have to."""

from __future__ import annotations

import pytest
from ptx_samples import arch, copying, fit_k

from aotfactory.compiler.ptxas import assemble
from aotfactory.core.arch import PtxIsa

BARRIER = "barrier.cluster.arrive{}.aligned;\nbarrier.cluster.wait.aligned;\n"
CLUSTER = {"directives": ".explicitcluster\n.reqnctapercluster 2", "target": "sm_90"}
SCRATCH = ".reg .pred %p;\n.reg .b32 %a, %b, %r2;\nmov.u32 %a, 0;\nsetp.eq.u32 %p, %a, %a;\n"


def test_the_last_barrier_of_a_cluster_does_not_wait_for_memory():
    """It keeps shared memory there; what other barriers order is not for us to say."""
    cluster = {"directives": ".explicitcluster\n.reqnctapercluster 2", "target": "sm_90"}
    fitted = fit_k(copying(2, body=BARRIER.format("") * 2, **cluster), arch=arch("sm_90"))
    assert BARRIER.format("") + BARRIER.format(".relaxed") + "ret;" in fitted.text
    assemble(fitted.text, arch("sm_90"))
    after = fit_k(copying(2, body=BARRIER.format("") + "st.global.u32 [%rd1], %r1;\n", **cluster), arch=arch("sm_90"))
    older = fit_k(copying(2, body=BARRIER.format(""), version="7.8", **cluster), arch=arch("sm_90"))
    assert "relaxed" not in after.text + older.text


@pytest.mark.parametrize(
    ("write", "relaxed"),
    [
        ("st.shared::cta.u32 [%a], %r1;", True),
        ("st.shared::cluster.u32 [%a], %r1;", False),
        ("st.u32 [%rd1], %r1;", False),  # generic: it may be another block's, as in CUDA C++
        ("red.relaxed.cluster.shared::cluster.add.u32 [%a], %r1;", False),
    ],
)
def test_the_last_barrier_waits_for_stores_to_other_blocks(write, relaxed):
    body = f".reg .b32 %a;\nmov.u32 %a, 0;\n{write}\n{BARRIER.format('')}"
    cluster = {"directives": ".explicitcluster\n.reqnctapercluster 2", "target": "sm_90"}
    fitted = fit_k(copying(2, body=body, **cluster), arch=arch("sm_90"))
    assert ("relaxed.aligned" in fitted.text) == relaxed


OWN = "fence.release.sync_restrict::shared::cta.cluster;\n" + BARRIER.format(".relaxed")
REMOTE = "mapa.shared::cluster.u32 %b, %a, 0;\nld.shared::cluster.u32 %r1, [%b];\n"


@pytest.mark.parametrize(
    ("before", "own"),
    [
        ("ld.global.u32 %r1, [%rd1];\nst.shared.u32 [%a], %r1;\n", True),
        ("@%p ld.global.v2.b32 { %r1, %r2 }, [%rd1];\n@%p st.shared::cta.u32 [%a], %r1;\n", True),
        ("$L_again:\nst.shared.u32 [%a], %r1;\n@%p bra $L_again;\n", True),
        ("st.global.u32 [%rd1], %r1;\n", False),
        ("@%p st.global.u32 [%rd1], %r1;\n", False),
        ("atom.shared.add.u32 %r2, [%a], %r1;\n", False),
        ("ld.acquire.gpu.global.u32 %r1, [%rd1];\n", False),  # what it learnt of is handed on
        ("ld.volatile.global.u32 %r1, [%rd1];\n", False),
        ("ld.global.nc.L1::evict_last.L2::cache_hint.b32 { %r1 }, [%rd1], 1;\n", True),
        ("st.u32 [%rd1], %r1;\n", False),  # generic: another block's, for all that is known
        ("st.shared::cluster.u32 [%a], %r1;\n", False),
        ("cp.async.ca.shared.global [%a], [%rd1], 4;\n", False),
        ("ld.shared::cluster.u32 %r1, [%a];\n", False),  # it might be overwritten before it has arrived
        ("bra $L_on;\n$L_never:\nst.global.u32 [%rd1], %r1;\n$L_on:\n", True),
        ("@%p bra $L_on;\nst.global.u32 [%rd1], %r1;\n$L_on:\n", False),
        ("@%p bra $L_on;\nst.global.u32 [%rd1], %r1;\nret;\n$L_on:\n", True),
    ],
)
def test_the_first_exchange_of_a_cluster_waits_for_its_own_shared_memory_alone(before, own):
    body = f"{SCRATCH}{before}{BARRIER.format('')}{REMOTE}{BARRIER.format('')}st.global.u32 [%rd1], %r1;\n"
    fitted = fit_k(copying(2, body=body, version="8.6", **CLUSTER), arch=arch("sm_90"))
    assert (OWN in fitted.text) == own
    assert fitted.text.count(BARRIER.format("")) == (1 if own else 2), "after it, others' shared memory has been read"
    assemble(fitted.text, arch("sm_90"))


def test_an_exchange_in_a_loop_waits_for_what_went_before():
    """The second time, the block has read another's shared memory, which that one may write to next."""
    loop = f"{SCRATCH}$L_again:\n{BARRIER.format('')}{REMOTE}@%p bra $L_again;\nst.global.u32 [%rd1], %r1;\n"
    assert "fence" not in fit_k(copying(2, body=loop, version="8.6", **CLUSTER), arch=arch("sm_90")).text


def test_the_first_exchange_is_left_alone_with_shared_buffers_and_for_older_drivers():
    """In place, another block may overwrite what this one has loaded, if that load has not arrived."""
    body = f"{SCRATCH}{BARRIER.format('')}{REMOTE}st.global.u32 [%rd1], %r1;\n"
    new, old = (copying(2, body=body, version=v, **CLUSTER) for v in ("8.6", "8.5"))
    assert OWN in fit_k(new, arch=arch("sm_90")).text
    assert "fence" not in fit_k(old, arch=arch("sm_90")).text
    assert "fence" not in fit_k(new, arch=arch("sm_90"), isa=PtxIsa(8, 0)).text
    assert "fence" not in fit_k(new, arch=arch("sm_90"), aliased=(0,)).text
    three = copying(3, body=body, version="8.6", **CLUSTER)
    assert OWN in fit_k(three, arch=arch("sm_90"), outputs=2).text
    assert "fence" not in fit_k(three, arch=arch("sm_90"), workspaces=1).text
