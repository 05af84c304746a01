from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml

from cvd_cluster import placement
from cvd_cluster.autoscaler import Autoscaler
from cvd_cluster.placement import NodeCapacity, check_this_machine, first_that_does_not_fit, placed
from cvd_cluster.topology import Task
from estimators.errors import InfeasibleError
from tests.cvd_cluster.fake_cluster import FakeCluster, node
from tests.cvd_cluster.fakes import FakePlacementGroup

CHIEF, WORKER, PS = Task("chief", 0, 1.0, 0), Task("worker", 0, 1.0, 0), Task("ps", 0, 1.0, 0)
GPU_CHIEF, GPU_WORKER = Task("chief", 0, 1.0, 1), Task("worker", 0, 1.0, 1)


def cpus(*each: float) -> list[NodeCapacity]:
    return [NodeCapacity(count, 0) for count in each]


@pytest.mark.parametrize(
    ("tasks", "nodes", "stuck"),
    [
        ([CHIEF, WORKER, PS], cpus(3), None),
        ([CHIEF, WORKER, PS], cpus(1, 1, 1), None),
        ([CHIEF, WORKER, PS], cpus(2), "ps-0"),
        ([CHIEF, WORKER, PS], cpus(0.5, 0.5, 2), "ps-0"),
        ([CHIEF], [], "chief-0"),
        ([PS, GPU_CHIEF], [NodeCapacity(1, 1), NodeCapacity(1, 0)], None),
        ([GPU_CHIEF, GPU_WORKER], [NodeCapacity(8, 1)], "worker-0"),
        ([GPU_CHIEF, GPU_WORKER], [NodeCapacity(8, 1), NodeCapacity(8, 1)], None),
        ([GPU_CHIEF], [NodeCapacity(0.5, 4), NodeCapacity(8, 0)], "chief-0"),
        ([Task("worker", i, 0.1, 0) for i in range(10)], cpus(1), None),
        ([Task("worker", 0, 1.5, 0), PS], cpus(1, 1.5), None),
    ],
)
def test_tasks_are_packed_onto_nodes(tasks: list[Task], nodes: list[NodeCapacity], stuck: str | None) -> None:
    found = first_that_does_not_fit(tasks, nodes)
    assert (found and found.name) == stuck


# --- a Ray that is started on this machine


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_to(*, cores: int = 2, gpus: int = 0, gigabytes: float = 24) -> None:
        monkeypatch.setattr(placement, "usable_cores", lambda: cores)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(gigabytes * 2**30)))
        monkeypatch.setattr(placement, "_gpus_here", lambda: gpus)

    return set_to


def refused_here(tasks: Sequence[Task]) -> str:
    with pytest.raises(InfeasibleError) as caught:
        check_this_machine(tasks)
    assert caught.value.exit_code == 4
    return str(caught.value)


def test_processors_may_be_shared_by_tasks(machine: Callable[..., None]) -> None:
    machine(cores=2)
    check_this_machine([CHIEF, WORKER, PS, Task("evaluator", 0, 1.0, 0)])


def test_one_task_cannot_have_more_processors_than_there_are(machine: Callable[..., None]) -> None:
    machine(cores=2)
    told = refused_here([CHIEF, Task("worker", 0, 3.0, 0)])
    assert "worker-0 (3 CPUs, 0 GPUs)" in told and "2 CPUs and 0 GPUs" in told and "--cpus_per_worker" in told


def test_gpus_cannot_be_shared(machine: Callable[..., None]) -> None:
    machine(gpus=1)
    check_this_machine([GPU_CHIEF, PS])
    told = refused_here([GPU_CHIEF, GPU_WORKER])
    assert "2 GPUs in all" in told and "no room for worker-0" in told and "--gpus_per_worker" in told
    machine(gpus=0)
    assert "no room for chief-0" in refused_here([GPU_CHIEF])


def test_memory_must_do_for_all_processes(machine: Callable[..., None]) -> None:
    machine(gigabytes=1.5)
    check_this_machine([CHIEF, WORKER])
    told = refused_here([CHIEF, WORKER, PS])
    assert "3 processes" in told and "1536 MiB free" in told and "--num_workers" in told


# --- a cluster


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    return FakeCluster(monkeypatch)


def test_each_task_gets_a_bundle_in_its_place_and_the_group_is_removed_at_the_end(cluster: FakeCluster) -> None:
    cluster.nodes = [node(4, GPU=1)]
    lines: list[str] = []
    with placed([GPU_CHIEF, PS], timeout_secs=0, announce=lines.append) as group:
        assert group.bundles == [{"CPU": 1.0, "GPU": 1}, {"CPU": 1.0}] and not group.removed
    assert group.removed and lines == []


def fail_inside(tasks: Sequence[Task]) -> None:
    with placed(tasks, timeout_secs=0, announce=print):
        raise RuntimeError("in the run")


def test_the_group_is_removed_after_an_error_too(cluster: FakeCluster) -> None:
    with pytest.raises(RuntimeError, match="in the run"):
        fail_inside([CHIEF])
    assert cluster.groups[0].removed


def refused(
    tasks: Sequence[Task],
    timeout_secs: float,
    announce: Callable[[str], None] = print,
    autoscaler: Autoscaler | None = None,
) -> str:
    room = placed(tasks, timeout_secs=timeout_secs, autoscaler=autoscaler, announce=announce)
    with pytest.raises(InfeasibleError) as caught, room:
        pass
    return str(caught.value)


def test_what_does_not_fit_is_told_at_once_with_what_is_asked_and_offered(cluster: FakeCluster) -> None:
    cluster.nodes = [node(2), node(64, alive=False)]
    told = refused([CHIEF, WORKER, PS], 0)
    assert cluster.clock.now == 1000 and cluster.groups == []
    assert "asked:  3 CPUs and 0 GPUs in all: chief-0 (1 CPUs, 0 GPUs), worker-0" in told
    assert "found:  1 node(s), with 2 CPUs and 0 GPUs; no room for ps-0" in told
    assert all(flag in told for flag in ("--num_workers", "--cpus_per_worker", "--placement_timeout_secs"))


def autoscaler(**types: dict[str, Any]) -> Autoscaler:
    """One whose file has these node types."""
    from ray.autoscaler._private.util import prepare_config

    config = yaml.safe_load((Path(__file__).parents[2] / "cluster.yaml").read_text())
    config["available_node_types"] = {name: {"node_config": {}, **kind} for name, kind in types.items()}
    return Autoscaler("/head/cluster.yaml", prepare_config(config))


GROWING = autoscaler(head={"resources": {"CPU": 0}}, cpu={"resources": {"CPU": 2}, "max_workers": 2})


def test_what_the_node_types_of_an_autoscaler_can_never_hold_is_told_at_once(cluster: FakeCluster) -> None:
    told = refused([CHIEF, *[Task("worker", index, 1.0, 0) for index in range(4)]], 600, autoscaler=GROWING)
    assert cluster.clock.now == 1000 and cluster.groups == [], "nothing was waited for"
    assert "/head/cluster.yaml allows at most 8 machines in all, of these: 2 cpu (2 CPUs)" in told


def test_what_an_autoscaler_can_hold_is_waited_for_as_long_as_is_allowed(cluster: FakeCluster) -> None:
    told = refused([CHIEF, WORKER, PS], 60, autoscaler=GROWING)
    assert 1060 < cluster.clock.now < 1070 and "1 node(s) after 6" in told
    assert "no room for ps-0" in refused([CHIEF, WORKER, PS], 0, autoscaler=GROWING)


def test_a_cluster_without_nodes_is_told(cluster: FakeCluster) -> None:
    cluster.nodes = []
    assert "no node at all" in refused([CHIEF], 0)


def test_nodes_that_come_up_in_time_are_waited_for(cluster: FakeCluster) -> None:
    lines: list[str] = []
    wait = FakePlacementGroup.wait

    def wait_and_grow(group: FakePlacementGroup, timeout_seconds: float) -> bool:
        if cluster.clock.now > 1020:
            cluster.nodes = [node(2), node(2)]
        return wait(group, timeout_seconds)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FakePlacementGroup, "wait", wait_and_grow)
        with placed([CHIEF, WORKER, PS], timeout_secs=60, announce=lines.append) as group:
            assert not group.removed
    assert group.removed and lines == [
        "no room for ps-0 (1 CPUs, 0 GPUs) on the 1 nodes there are; waiting up to 60 s for more"
    ]


def test_nodes_that_do_not_come_are_waited_for_no_longer_than_allowed(cluster: FakeCluster) -> None:
    lines: list[str] = []
    told = refused([CHIEF, WORKER, PS], 60, lines.append)
    assert 1060 < cluster.clock.now < 1070 and "1 node(s) after 6" in told
    assert cluster.groups[0].removed, "the demand must not stay with the autoscaler"


def test_a_cluster_that_is_busy_is_waited_for_and_that_is_said_once(cluster: FakeCluster) -> None:
    cluster.busy = True
    lines: list[str] = []
    wait = FakePlacementGroup.wait

    def wait_and_end(group: FakePlacementGroup, timeout_seconds: float) -> bool:
        cluster.busy = cluster.clock.now < 5000
        return wait(group, timeout_seconds)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FakePlacementGroup, "wait", wait_and_end)
        with placed([CHIEF], timeout_secs=0, announce=lines.append):
            pass
    assert len(lines) == 1 and "busy" in lines[0]


def test_a_cluster_that_stays_busy_is_told_to_one_who_only_looks(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 0.5})
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0, "memory": 1e9})
    cluster.busy, cluster.nodes = True, [node(1)]
    wait = FakePlacementGroup.wait

    def wait_and_grow(group: FakePlacementGroup, timeout_seconds: float) -> bool:
        if cluster.clock.now > 1100:
            cluster.nodes = [node(1), node(1)]
        return wait(group, timeout_seconds)

    monkeypatch.setattr(FakePlacementGroup, "wait", wait_and_grow)
    with (
        pytest.raises(InfeasibleError, match="large enough for this run, but busy") as caught,
        placed([CHIEF, WORKER], timeout_secs=600, busy_secs=10, announce=print),
    ):
        pass
    assert caught.value.found == "0.5 of 2 CPUs free, 0 of 0 GPUs free" and "worker-0" in caught.value.asked
    assert 1110 < cluster.clock.now < 1115, "from when the nodes had come"
    assert cluster.groups[0].removed
