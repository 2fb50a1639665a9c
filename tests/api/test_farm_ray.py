# SPDX-License-Identifier: Apache-2.0
"""A farm on a real Ray cluster of several local nodes: the bytes of a local run, and nodes that are lost."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_farm import NAMES, Farm

from aotfactory.api import farm_ray
from aotfactory.plan import record as provenance

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow


BUILDER = """
import os, sys, time

class Finder:
    # On the nodes: the double of TensorRT's builder and a GPU of sm_80, as soon as a task needs them.
    def find_spec(self, name, path=None, target=None):
        if name != "aotfactory.api.farm_ray":
            return None
        sys.meta_path.remove(self)
        from aotfactory.api import bake
        from aotfactory.core.arch import Arch
        from aotfactory.plan import builder, kept
        from aotfactory.plugins import tensorrt_api
        from doubles.runtime import full_tensorrt
        tensorrt_api.require_builder = full_tensorrt
        builder.native_arch = kept.native_arch = lambda: Arch(name="sm_80", capability=80)
        build = bake.build_plan

        def slow(*arguments, **options):  # gives a test the time to kill it
            if os.path.exists("baking"):
                with open("baking", "a") as log:
                    print(os.getpid(), file=log)
                time.sleep(2)
            return build(*arguments, **options)

        bake.build_plan = slow
        from aotfactory.core.check import Check
        from aotfactory.executors.native import launcher_check
        launcher = launcher_check.check

        def judged(job):  # on a node that has a resource called like a GPU, and none
            if not os.path.exists("verdict"):
                return launcher(job)
            import ray
            path = job.path
            with open("judged", "a") as log:
                print(os.getpid(), path.name, ray.get_runtime_context().get_node_id(), file=log)
            while os.path.exists("together") and len(open("judged").readlines()) < 2:
                time.sleep(0.05)
            with open("verdict") as file:
                return [Check(name="launcher", subject=path.name, status=file.read(), compared="memory", detail="d")]

        launcher_check.check = judged

sys.meta_path.insert(0, Finder())
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    # A busy machine takes longer than Ray waits for its own parts.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "240")
    os.environ.setdefault("RAY_agent_register_timeout_ms", "240000")
    doubles = tmp_path_factory.mktemp("doubles")
    (doubles / "sitecustomize.py").write_text(BUILDER)
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join([str(doubles), str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")])
    os.environ["PYTHONPATH"] = paths.strip(os.pathsep)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1, resources={"sm_80": 1})
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


def test_plans_are_made_where_such_a_gpu_is(cluster: Any, farm: Farm) -> None:
    bake = farm_ray.bakes(farm.cache, required=True)
    assert farm.run(ray=True, bake=bake) == dict.fromkeys(NAMES, "built")
    plans = sorted(path.name for path in farm.out.glob("*.plan"))
    assert plans == sorted(f"{name}.plan" for name in NAMES if name.endswith("sm_80"))
    for name in plans:
        path = farm.out / name
        assert provenance.problems(path) == []
        record = provenance.read(path)
        assert record["bundle"]["path"] == str((farm.out / name).with_suffix(".aot").resolve())
    before = {name: (farm.out / name).read_bytes() for name in plans}
    assert farm.run(ray=True, bake=bake) == dict.fromkeys(NAMES, "cached")
    assert {name: (farm.out / name).read_bytes() for name in plans} == before


def test_a_worker_that_is_killed_while_it_bakes(cluster: Any, farm: Farm) -> None:
    """Ray begins the plan anew."""
    log = farm.folder / "baking"
    log.touch()
    text = (farm.folder / "farm.toml").read_text()
    (farm.folder / "farm.toml").write_text(text.replace('arch = ["sm_80", "sm_90"]', 'arch = "sm_80"\ntensorrt = {}'))
    killed: list[int] = []

    def kill() -> None:
        while not killed:
            time.sleep(0.02)
            for pid in map(int, log.read_text().split()):
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)
                return

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    found = farm.run(("copy.1x64",), ray=True, bake=farm_ray.bakes(farm.cache, required=True))
    assert found == {"copy.1x64": "built"}
    killer.join(20)
    assert len(killed) == 1
    assert len(set(log.read_text().split())) == 2
    assert provenance.problems(farm.out / "copy.1x64.plan") == []


def state(farm: Farm) -> dict[str, Any]:
    engines: dict[str, Any] = json.loads((farm.out / "farm.json").read_text())["engines"]
    return engines


@pytest.mark.parametrize(("verdict", "status"), [("passed", "built"), ("failed", "failed")])
def test_engines_are_run_where_such_a_gpu_is(verdict: str, status: str, cluster: Any, farm: Farm) -> None:
    (farm.folder / "verdict").write_text(verdict)
    found = farm.run(ray=True, keep_going=True, validate=farm_ray.validates(farm.cache))
    there = [name for name in NAMES if name.endswith("sm_80")]
    assert found == {name: status if name in there else "built" for name in NAMES}
    (node,) = (n["NodeID"] for n in ray.nodes() if "sm_80" in n["Resources"])
    runs = [line.split() for line in (farm.folder / "judged").read_text().splitlines()]
    assert sorted(run[1:] for run in runs) == sorted([f"{name}.aot", node] for name in there)
    assert len({pid for pid, _, _ in runs}) == len(runs)
    for name in NAMES:
        report = json.loads((farm.out / f"{name}.build.json").read_text())
        (check,) = (check for check in report["checks"] if check["name"] == "launcher")
        assert check["status"] == (verdict if name in there else "skipped")
        assert name in there or check["detail"] == "no node of the cluster has the resource sm_90"


def test_all_gpus_of_the_cluster_at_once(cluster: Any, farm: Farm) -> None:
    """Neither run ends before the other has begun."""
    node = cluster.add_node(num_cpus=1, resources={"sm_90": 1})
    try:
        (farm.folder / "verdict").write_text("passed")
        (farm.folder / "together").touch()
        found = farm.run(("copy.1x64.*",), ray=True, validate=farm_ray.validates(farm.cache))
        assert set(found.values()) == {"built"}
        assert len({line.split()[2] for line in (farm.folder / "judged").read_text().splitlines()}) == 2
    finally:
        cluster.remove_node(node)


def test_a_node_that_only_says_it_has_a_gpu(cluster: Any, farm: Farm) -> None:
    found = farm.run(("copy.1x64.*",), ray=True, keep_going=True, validate=farm_ray.validates(farm.cache))
    assert found == {"copy.1x64.sm_80": "error", "copy.1x64.sm_90": "built"}
    message = state(farm)["copy.1x64.sm_80"]["error"]["message"]
    assert message.startswith("it was not validated: launcher is required, but was skipped: no GPU")
    assert message.endswith("the node says that it has sm_80")
