# SPDX-License-Identifier: Apache-2.0
"""A farm on a real Ray cluster of several local nodes: the bytes of a local run, and nodes that are lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_farm import NAMES, Farm

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    # A busy machine takes longer than Ray waits for its own parts.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "240")
    os.environ.setdefault("RAY_agent_register_timeout_ms", "240000")
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    os.environ["PYTHONPATH"] = paths.strip(os.pathsep)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=True)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Farm:
    monkeypatch.chdir(tmp_path)
    return Farm(tmp_path)


def test_same_bytes_as_a_local_run(cluster: Any, farm: Farm) -> None:
    assert farm.run(ray=True) == dict.fromkeys(NAMES, "built")
    far = farm.bundles()
    farm.cache.clean()
    assert farm.run() == dict.fromkeys(NAMES, "built")
    assert farm.bundles() == far


def test_workers_that_are_killed_midway(cluster: Any, farm: Farm) -> None:
    text = (farm.folder / "small.py").read_text()
    log = farm.folder / "pids"
    slow = f"import os, time\nopen({str(log)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(1)\n"
    (farm.folder / "small.py").write_text(slow + text)
    killed: list[int] = []

    def kill() -> None:
        while len(killed) < 2:
            time.sleep(0.2)
            for pid in map(int, log.read_text().split() if log.exists() else ()):
                if pid not in killed and pid != os.getpid() and len(killed) < 2:
                    killed.append(pid)
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert farm.run(ray=True, keep_going=True) == dict.fromkeys(NAMES, "built")
    assert len(killed) == 2


def test_a_mistake_comes_home(cluster: Any, farm: Farm) -> None:
    (farm.folder / "small.py").write_text("import nothing_of_this_name\n")
    found = farm.run(ray=True, keep_going=True)
    assert set(found.values()) == {"error"}
    state = (farm.out / "farm.json").read_text()
    assert "nothing_of_this_name" in state
