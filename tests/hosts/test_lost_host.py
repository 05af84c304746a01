"""A host is lost in mid-training, with all its processes and its link at once, and comes back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.on_prem_cluster import OnPremCluster
from tests.hosts.runs import evaluated, events, steps, training_flags, until

pytestmark = pytest.mark.hosts


def by_host(train_dir: Path, generation: int) -> dict[str, set[str]]:
    """Host -> the roles that trained there in this generation."""
    found: dict[str, set[str]] = {}
    for event in events(train_dir, "process_started"):
        if event["generation"] == generation and event["role"] != "evaluator":
            found.setdefault(event["host"], set()).add(f"{event['role']}-{event['index']}")
    return found


def the(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The only one."""
    (row,) = rows
    return row


@pytest.mark.parametrize("strategy", ["multi_worker_mirrored with an evaluator", "parameter_server"])
def test_a_run_goes_on_with_a_host_that_was_lost_and_came_back(
    cluster: OnPremCluster, data: Path, folder: Path, strategy: str
) -> None:
    train_dir, h2 = folder / f"lost-{strategy.split()[0]}", cluster.hosts.hosts["h2"]
    synchronous = strategy.startswith("multi")
    max_steps = 200 if synchronous else 3000
    flags = training_flags(data, train_dir, strategy, max_steps, "--placement_timeout_secs=400")
    with cluster.submitting("train", *flags, job=train_dir.name) as training:
        until(lambda: steps(train_dir)[-1:] > [0] and events(train_dir, "first_step"), 240, "a checkpoint")
        saved = steps(train_dir)[-1]
        assert h2.address in by_host(train_dir, 1)
        blow = time.time()
        cluster.hosts.lose("h2")
        until(lambda: events(train_dir, "generation_ended"), 240, "that it was noticed")
        back = time.time()
        # Nothing is typed: Ray's autoscaler on the head starts Ray there again.
        cluster.hosts.start_host("h2", h2.address)
        output, _ = training.communicate(timeout=420)
    assert training.returncode == 0, output
    assert the(events(train_dir, "run_ended"))["cause"] == "SUCCEEDED"
    assert "its node is gone" in the(events(train_dir, "generation_ended"))["cause"], output
    assert len(events(train_dir, "generation_started")) == 2, output
    hosts = {host.address for host in cluster.hosts.hosts.values()}
    assert set(by_host(train_dir, 2)) == hosts
    first = next(event for event in events(train_dir, "first_step") if event["generation"] == 2)
    assert int(first["cause"].split()[1]) >= saved, "it went on from the last checkpoint"
    if synchronous:
        seen = evaluated(train_dir)
        assert steps(train_dir)[-1] == max_steps and seen[-1] == max_steps and len(set(seen)) == len(seen)
    else:
        assert max_steps <= steps(train_dir)[-1] <= max_steps + 2  # num_workers - 1 asynchronous steps more
    noticed = the(events(train_dir, "generation_ended"))["time"]
    print(
        f"\n{strategy}: noticed {noticed - blow:.0f} s after the blow, next step {first['time'] - blow:.0f} s "
        f"after it, and {first['time'] - back:.0f} s after the host came back"
    )
    cluster.await_nodes(2, 120)
