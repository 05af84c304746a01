"""What nodes are asked before processes that only read are started there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from cvd_cluster import node_look
from cvd_cluster.node_look import NodeView, check_view, look_from, view_of
from cvd_cluster.ray_session import ray_session
from estimators.errors import InfrastructureError, UserError


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    with ray_session(cpus_needed=1, announce=print):
        yield


def test_a_file_that_a_node_cannot_read_is_named_with_the_flag_it_came_from(tmp_path: Path) -> None:
    there, gone = tmp_path / "there", tmp_path / "gone"
    there.write_bytes(b"data")
    nodes = [node["NodeID"] for node in ray.nodes()]
    look_from(nodes, [str(there)], asked="--input_data_pattern=x", what="the data")
    with pytest.raises(UserError, match="cannot read the data") as caught:
        look_from(nodes, [str(there), str(gone)], asked="--input_data_pattern=x", what="the data")
    assert caught.value.asked == "--input_data_pattern=x"
    assert caught.value.found == f"1 files, {gone}: No such file or directory"


def test_a_node_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_look, "_LOOK_SECS", 3.0)
    with pytest.raises(InfrastructureError, match="cannot be looked at") as caught:
        look_from(["0" * 56], [], asked="", what="the data")
    assert caught.value.asked == "0" * 56 and caught.value.found


def test_a_node_whose_account_may_not_read_a_bucket_is_told_what_it_lacks() -> None:
    view = NodeView("far-away", view_of([]).versions, {"gs://bucket/x": "403 Forbidden"})
    with pytest.raises(UserError, match="far-away cannot read the data") as caught:
        check_view(view, asked="--input_data_pattern=gs://bucket/*", what="the data")
    assert "serviceAccounts" in caught.value.change
