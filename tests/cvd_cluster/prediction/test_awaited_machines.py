"""Machines for predictors that are not up yet, where no autoscaler is seen."""

from __future__ import annotations

import pytest

from cvd_cluster.prediction import awaited_machines
from cvd_cluster.prediction.awaited_machines import await_machines
from cvd_cluster.prediction.prediction_options import PredictionOptions
from estimators.errors import InfeasibleError
from tests.cvd_cluster.fake_cluster import FakeCluster, node
from tests.cvd_cluster.fakes import FakePlacementGroup


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    monkeypatch.setattr(awaited_machines, "autoscaler_of_cluster", lambda: None)
    return FakeCluster(monkeypatch)


def awaited(pieces: int = 100, **values: float) -> list[str]:
    lines: list[str] = []
    options = PredictionOptions(input_data_pattern="/in", output_file="/out.csv", model_dir="/model", **values)  # type: ignore[arg-type]
    await_machines(options, pieces, lines.append)
    return lines


def test_what_there_is_is_used_at_once_unless_one_is_to_wait(cluster: FakeCluster) -> None:
    assert awaited(max_worker_count=8) == [] and cluster.groups == []
    cluster.nodes = []
    assert awaited() == [] and cluster.groups == []


def test_nodes_for_the_predictors_that_are_asked_for_are_waited_for(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.nodes = []
    wait = FakePlacementGroup.wait

    def wait_and_grow(group: FakePlacementGroup, timeout_seconds: float) -> bool:
        if cluster.clock.now > 1020:
            cluster.nodes = [node(2), node(3)]
        return wait(group, timeout_seconds)

    monkeypatch.setattr(FakePlacementGroup, "wait", wait_and_grow)
    (line,) = awaited(max_worker_count=4, placement_timeout_secs=60)
    assert "no room for predictor-0" in line and "waiting up to 60 s" in line
    assert len(cluster.groups[0].bundles) == 5 and cluster.groups[0].removed, "four predictors, and one CPU to read"
    assert awaited(pieces=4, max_worker_count=8, placement_timeout_secs=60) == [], "no more than there is work for"


def test_where_fewer_come_those_are_used_and_where_none_comes_that_is_told(cluster: FakeCluster) -> None:
    _, last = awaited(max_worker_count=4, placement_timeout_secs=60)
    assert last.startswith("only some of 4 predictors have room (1 node(s) after 6") and 1060 < cluster.clock.now < 1070
    cluster.nodes, cluster.busy = [node(8)], True
    assert awaited(max_worker_count=4, placement_timeout_secs=60) == [], "what others have now comes free one by one"
    cluster.nodes = []
    with pytest.raises(InfeasibleError) as caught:
        awaited(placement_timeout_secs=60)
    assert "after 6" in caught.value.found and "--placement_timeout_secs" in caught.value.change
