"""A cluster of Ray without Ray, as far as `placed` asks it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import ray

from cvd_cluster import placement
from tests.cvd_cluster.fakes import FakeClock, FakePlacementGroup


class FakeCluster:
    """Has one node with two CPUs.

    Attributes:
      nodes: those that Ray tells of.
      clock: goes on while a group waits for room.
      groups: that were asked for.
      busy: whether others have all room.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nodes: list[Mapping[str, Any]] = [node(2)]
        self.clock = FakeClock()
        self.groups: list[FakePlacementGroup] = []
        self.busy = False
        groups = importlib.import_module("ray.util.placement_group")  # ray.util has a function of the same name
        monkeypatch.setattr(ray, "nodes", lambda: self.nodes)
        monkeypatch.setattr(ray, "is_initialized", lambda: True)
        monkeypatch.setattr(groups, "placement_group", self._make_group)
        monkeypatch.setattr(groups, "remove_placement_group", self._remove)
        monkeypatch.setattr(placement, "control_service_answers", lambda: True)
        monkeypatch.setattr(placement, "time", self.clock)

    def _make_group(self, bundles: Sequence[Mapping[str, float]], strategy: str) -> FakePlacementGroup:
        assert strategy == "PACK"
        self.groups.append(FakePlacementGroup(bundles, self.clock, self._is_ready))
        return self.groups[-1]

    def _is_ready(self) -> bool:
        offered = sum(node["Resources"].get("CPU", 0) for node in self.nodes if node["Alive"])
        return not self.busy and offered >= sum(bundle["CPU"] for bundle in self.groups[-1].bundles)

    def _remove(self, group: FakePlacementGroup) -> None:
        assert not group.removed
        group.removed = True


def node(cpus: float, *, alive: bool = True, **more: float) -> dict[str, Any]:
    """As `ray.nodes` tells of one."""
    return {"Alive": alive, "Resources": {"CPU": cpus, "memory": 1e9, **more}}
