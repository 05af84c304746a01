"""What is found wrong with a node; that real nodes are looked at is in tests/integration/test_ray_job.py."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cvd_cluster import preflight
from cvd_cluster.node_look import NodeView, view_of
from cvd_cluster.preflight import NodeLook, NodeReport
from cvd_cluster.topology import Task
from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles
from estimators.training_plan import TrainingPlan

TASKS = (Task("chief", 0, 1.0, 0), Task("worker", 0, 1.0, 0), Task("ps", 0, 1.0, 0))
NODES = {0: "node-a", 1: "node-b", 2: "node-a"}


def _report(*, train_dir_trouble: str, **view: Any) -> NodeReport:
    return NodeReport(NodeView(**view), train_dir_trouble)


def look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: Mapping[str, Any], *, also: str = ""
) -> dict[Task, NodeReport]:
    """Looks at two nodes: one sees what this machine sees; of the other some things are different."""
    import ray

    data = tmp_path / "train-0"
    data.write_bytes(b"data")
    options = ExperimentOptions(train_dir=str(tmp_path / "a" / "run"), train_data_pattern=str(data))
    plan = TrainingPlan("parameter_server", 2, 1, DataFiles((str(data), *filter(None, [also])), (1, 1)), None, 4, 5)
    monkeypatch.setattr(ray.util, "placement_group_table", lambda group: {"bundles_to_node_id": NODES})

    def reports(first: Mapping[str, Task], group: object, tasks: object, folder: str, paths: Any, pause: Any) -> Any:
        assert {node: task.name for node, task in first.items()} == {"node-a": "chief-0", "node-b": "worker-0"}
        found = {node: preflight._look(folder, node, paths) for node in first}
        view, trouble = vars(found["node-b"].view), found["node-b"].train_dir_trouble
        found["node-b"] = _report(**{**view, "host": "far-away", "train_dir_trouble": trouble, **other})
        return found

    monkeypatch.setattr(preflight, "_reports", reports)
    monkeypatch.setattr(preflight, "_SEEN_SECS", 0.3)
    before = sorted(tmp_path.rglob("*"))
    try:
        look = NodeLook(options, plan)
        found = look(TASKS, None)
        monkeypatch.setattr(preflight, "_reports", None)
        assert look(TASKS, None) == found, "no node is looked at twice"
        return found
    finally:
        assert sorted(tmp_path.rglob("*")) == before, "it leaves nothing"


def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **how: Any) -> str:
    with pytest.raises(UserError) as caught:
        look(tmp_path, monkeypatch, how.pop("other", {}), **how)
    return str(caught.value)


def test_nodes_like_this_machine_are_told_by_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(tmp_path, monkeypatch, {})
    assert [found[task].view.host == "far-away" for task in TASKS] == [False, True, False]
    assert {"Python", "ray", "tensorflow", "numpy", "pyarrow", "this project's sources"} <= set(
        found[TASKS[0]].view.versions
    )


def test_a_node_with_other_versions_is_named_with_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {**view_of([]).versions, "tensorflow": "2.14.0"}
    told = refused(tmp_path, monkeypatch, other={"versions": versions})
    assert "far-away has other versions" in told and "found:  tensorflow 2.14.0" in told
    assert f"asked:  tensorflow {view_of([]).versions['tensorflow']}" in told and "constraints.txt" in told
    versions |= {"tensorflow": view_of([]).versions["tensorflow"], "this project's sources": "0123456789ab"}
    told = refused(tmp_path, monkeypatch, other={"versions": versions})
    assert "found:  this project's sources 0123456789ab" in told
    versions |= {"this project's sources": view_of([]).versions["this project's sources"]}
    del versions["tensorflow"]
    assert "tensorflow not installed" in refused(tmp_path, monkeypatch, other={"versions": versions})


def test_data_that_a_node_cannot_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = refused(tmp_path, monkeypatch, also=f"{tmp_path}/train-1")
    assert f"{tmp_path}/train-1: No such file or directory" in told and "cannot read the data" in told


def test_a_train_dir_that_is_another_folder_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = refused(tmp_path, monkeypatch, other={"train_dir_trouble": "what this command wrote there is not seen"})
    assert "not the same folder on far-away" in told and f"--train_dir={tmp_path}/a/run" in told


def test_what_a_node_writes_must_be_seen_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = preflight._exchange_tokens
    monkeypatch.setattr(
        preflight, "_exchange_tokens", lambda folder, node: "" if node == "node-b" else exchange(folder, node)
    )
    assert "is not seen by this command" in refused(tmp_path, monkeypatch)
    assert importlib.import_module("cvd_cluster.preflight") is preflight


def test_a_node_that_sees_another_folder_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_SEEN_SECS", 0.3)
    assert "is not seen" in preflight._exchange_tokens(str(tmp_path / "elsewhere"), "node-b")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"train_dir_trouble": "403 Forbidden"},
            "far-away cannot use the bucket of --train_dir, though this machine can",
        ),
        ({"unreadable": {"gs://bucket/train-0": "403 Forbidden"}}, "far-away cannot read the data"),
    ],
)
def test_a_node_whose_account_may_not_use_the_bucket_is_told_what_it_lacks(wrong: Any, told: str) -> None:
    options = ExperimentOptions(train_dir="gs://bucket/run", train_data_pattern="gs://bucket/train-*")
    sound: dict[str, Any] = {"host": "far-away", "versions": view_of([]).versions, "unreadable": {}}
    with pytest.raises(UserError) as caught:
        preflight._check({"node-b": _report(**{**sound, "train_dir_trouble": "", **wrong})}, options)
    assert told in str(caught.value) and "403 Forbidden" in str(caught.value)
    assert "serviceAccounts in cluster.yaml" in str(caught.value)
