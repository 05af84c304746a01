"""The cluster file is one that Ray accepts, and opens nothing to the outside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
START_COMMANDS = ("head_start_ray_commands", "worker_start_ray_commands")


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def completed(cluster) -> dict[str, Any]:
    """What Ray makes of the file with its own defaults."""
    from ray.autoscaler._private.util import prepare_config

    prepared: dict[str, Any] = prepare_config(cluster)
    return prepared


def test_ray_accepts_it(completed):
    from ray.autoscaler._private.util import validate_config

    validate_config(completed)


def test_ray_refuses_a_misspelt_key(completed):
    import jsonschema
    from ray.autoscaler._private.util import validate_config

    with pytest.raises(jsonschema.ValidationError, match="head_nod_type"):
        validate_config({**completed, "head_nod_type": "head"})


def test_it_is_for_google_cloud(cluster):
    assert cluster["provider"]["type"] == "gcp"


def test_the_head_takes_no_work(cluster):
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0} and head["max_workers"] == 0
    assert "guestAccelerators" not in head["node_config"]
    assert "--num-cpus=0 --num-gpus=0" in cluster["head_start_ray_commands"][-1]


def test_a_worker_has_one_gpu_and_is_started_only_when_wanted(cluster):
    workers = [kind for name, kind in cluster["available_node_types"].items() if name != cluster["head_node_type"]]
    for worker in workers:
        assert worker["resources"]["GPU"] == 1 and worker["min_workers"] == 0
        assert [gpu["acceleratorCount"] for gpu in worker["node_config"]["guestAccelerators"]] == [1]
        assert worker["node_config"]["scheduling"]["onHostMaintenance"] == "TERMINATE"
    assert len(workers) >= 1


@pytest.mark.parametrize("name", [*START_COMMANDS, "setup_commands", "head_setup_commands"])
def test_none_of_rays_default_commands_is_left(cluster, completed, name):
    from ray.autoscaler._private.util import fillout_defaults

    defaults = fillout_defaults({"cluster_name": "x", "provider": cluster["provider"]})
    assert cluster[name]
    assert not [command for command in defaults[name] if command in completed[name]]


def test_the_dashboard_is_not_open_to_the_outside(completed):
    assert "--dashboard-host=127.0.0.1" in completed["head_start_ray_commands"][-1]
    assert "0.0.0.0" not in str([completed[name] for name in START_COMMANDS])


@pytest.mark.parametrize("name", START_COMMANDS)
def test_every_node_asks_for_the_token_and_reports_nothing(cluster, name):
    start = cluster[name][-1]
    assert "RAY_AUTH_MODE=token" in start and "RAY_USAGE_STATS_ENABLED=0" in start
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_every_node_gets_the_code_and_the_locked_environment(cluster):
    sources = {Path(source) for source in cluster["file_mounts"].values() if not source.startswith("~")}
    assert all((ROOT / source).exists() for source in sources)
    assert sources >= {Path(name) for name in ("setup.py", "constraints.txt", "estimators", "cvd_cluster", "launch")}
    installs = [command for name in ("setup_commands", "head_setup_commands") for command in cluster[name]]
    installs = [command for command in installs if "pip install" in command]
    assert any(".[cuda]" in command for command in installs)
    assert all("-c constraints.txt" in command for command in installs)
    assert not [command for command in installs if re.search(r"https?://|nightly|latest", command)]
