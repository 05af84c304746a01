"""The files that `ray up` reads: accepted by the schemas of Ray and of the clouds, and closed to the outside."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from cvd_cluster.cloud_machines import brought_by, troubles_of

ROOT = Path(__file__).parents[1]
CLUSTERS = ROOT / "launch" / "clusters"
SET_UP = CLUSTERS / "set_up_node.sh"
FILES = {"gcp": ROOT / "cluster.yaml", "aws": CLUSTERS / "aws.yaml", "local": CLUSTERS / "on_prem.yaml"}
CLOUDS = ("gcp", "aws")
START = ("head_start_ray_commands", "worker_start_ray_commands")
SETUP = ("setup_commands", "head_setup_commands", "worker_setup_commands")
# What cannot change under us, and what can: dated images, and the names that always mean the newest.
DATED_IMAGES = {"gcp": r"projects/[a-z-]+/global/images/[a-z0-9-]+-v\d{8}", "aws": r"ami-[0-9a-f]{17}"}
FLOATING = re.compile(r"/images/family/|:latest|\bnightly\b|/latest/|https?://\S*\.whl|resolve:ssm")


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILES[name].read_text())
    return loaded


@pytest.fixture(params=FILES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=CLOUDS)
def cloud(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def node_types(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(name)["available_node_types"]
    return found


def completed(name: str) -> dict[str, Any]:
    """What Ray makes of the file with its own defaults."""
    from ray.autoscaler._private.util import prepare_config

    prepared: dict[str, Any] = prepare_config(read(name))
    return prepared


def machine_of(kind: dict[str, Any]) -> tuple[str, int, int]:
    """A node type's machine type, and the CPUs and GPUs that it has."""
    node = kind["node_config"]
    machine = node.get("machineType") or node["InstanceType"]
    brought = brought_by(machine)
    assert brought is not None, machine
    cpus, gpus = brought
    return machine, cpus, gpus + sum(gpu["acceleratorCount"] for gpu in node.get("guestAccelerators", ()))


def test_ray_accepts_it(name):
    from ray.autoscaler._private.util import validate_config

    validate_config(completed(name))


@pytest.mark.parametrize("key", ["head_nod_type", "max_worker"])
def test_ray_refuses_a_misspelt_key(name, key):
    import jsonschema
    from ray.autoscaler._private.util import validate_config

    with pytest.raises(jsonschema.ValidationError, match=key):
        validate_config({**completed(name), key: 1})


def test_its_cloud_knows_every_field_of_every_machine(name):
    assert troubles_of(completed(name), announce=pytest.fail) == []


@pytest.mark.parametrize(("file", "zones"), [("gcp", "europe-west4-a"), ("aws", "us-east-2a,eu-west-1a")])
def test_a_zone_of_another_region_is_told(file, zones):
    config = completed(file)
    config["provider"]["availability_zone"] = zones
    (trouble,) = troubles_of(config, announce=pytest.fail)
    assert f"{zones.split(',')[-1]} is not in provider.region" in trouble


@pytest.mark.parametrize(("file", "key"), [("gcp", "availability_zone"), ("gcp", "region"), ("aws", "region")])
def test_a_place_that_ray_needs_and_does_not_ask_for_is_told(file, key):
    config = completed(file)
    del config["provider"][key]
    assert troubles_of(config, announce=pytest.fail) == [f"provider.{key} is missing"]


def test_gpus_that_a_machine_will_not_have_are_told():
    config = completed("gcp")
    config["available_node_types"]["gpu_4"]["node_config"]["guestAccelerators"][0]["acceleratorCount"] = 2
    (trouble,) = troubles_of(config, announce=pytest.fail)
    assert trouble == "available_node_types.gpu_4: node_config brings 2 GPUs, and resources.GPU says 4"


def test_a_machine_that_amazon_does_not_have_is_told():
    config = completed("aws")
    node_config = config["available_node_types"]["gpu_1"]["node_config"]
    node_config["InstanceType"] = "g4dn.2xlrge"
    (trouble,) = troubles_of(config, announce=pytest.fail)
    assert "gpu_1.node_config.InstanceType: Amazon has no g4dn.2xlrge" in trouble and "g4dn.2xlarge" in trouble
    node_config["InstanceType"] = "g99.xlarge"  # of a later year
    assert troubles_of(config, announce=pytest.fail) == []


@pytest.mark.parametrize("cloud", ["gcp", "aws"])
def test_nothing_is_found_wrong_with_rays_own_machines(cloud):
    path = Path(ray.__file__).parent / "autoscaler" / cloud / "defaults.yaml"
    assert troubles_of(yaml.safe_load(path.read_text()), announce=pytest.fail) == []


def test_the_head_takes_no_work(cloud):
    config = read(cloud)
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0} and head["max_workers"] == 0
    assert machine_of(head)[2] == 0
    assert "--num-cpus=0 --num-gpus=0" in config["head_start_ray_commands"][-1]


def test_workers_have_one_gpu_or_four_or_none_and_come_only_when_wanted(cloud):
    config = read(cloud)
    workers = [kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]]
    assert sorted(kind["resources"].get("GPU", 0) for kind in workers) == [0, 1, 4]
    assert all(kind["min_workers"] == 0 < kind["max_workers"] <= config["max_workers"] for kind in workers)
    assert config["idle_timeout_minutes"] <= 15


def test_a_node_type_promises_what_its_machine_has(cloud):
    config = read(cloud)
    for name, kind in config["available_node_types"].items():
        machine, cpus, gpus = machine_of(kind)
        if name != config["head_node_type"]:
            assert kind["resources"] == {"CPU": cpus, **({"GPU": gpus} if gpus else {})}, f"{name}: {machine}"


def test_a_machine_with_a_gpu_waits_for_its_driver_and_others_do_not_install_cuda(cloud):
    config = read(cloud)
    for name, kind in config["available_node_types"].items():
        commands = kind.get("worker_setup_commands", config["worker_setup_commands"])
        if name != config["head_node_type"]:
            assert commands[-1].endswith("set_up_node.sh cuda") == ("GPU" in kind["resources"])
        if kind["node_config"].get("guestAccelerators"):
            assert kind["node_config"]["scheduling"]["onHostMaintenance"] == "TERMINATE"


def test_no_image_or_wheel_is_one_that_changes(name):
    text = "\n".join(line.partition(" #")[0] for line in FILES[name].read_text().splitlines() if line[:1] != "#")
    assert not FLOATING.search(text)
    assert not [command for key in SETUP for command in completed(name)[key] if FLOATING.search(command)]
    if name in CLOUDS:
        images = re.findall(r"(?:sourceImage|ImageId): (?:&\w+ )?(?!\*)(\S+)", text)
        assert images and all(re.fullmatch(DATED_IMAGES[name], image) for image in images), images


@pytest.mark.parametrize("key", [*START, *SETUP])
def test_none_of_rays_default_commands_is_left(name, key):
    from ray.autoscaler._private.util import fillout_defaults

    defaults = fillout_defaults({"cluster_name": "x", "provider": read(name)["provider"]})
    assert not [command for command in defaults[key] if command in completed(name)[key]]


@pytest.mark.parametrize("key", START)
def test_every_node_asks_for_the_token_and_reports_nothing(name, key):
    start = completed(name)[key][-1]
    assert "RAY_AUTH_MODE=token" in start and "RAY_USAGE_STATS_ENABLED=0" in start
    # As a file: what stands in a command or in an environment is seen by others of the machine.
    assert "RAY_AUTH_TOKEN" not in FILES[name].read_text()
    assert read(name)["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_the_dashboard_listens_on_loopback(name):
    assert "--dashboard-host=127.0.0.1" in completed(name)["head_start_ray_commands"][-1]
    assert "0.0.0.0" not in json.dumps(completed(name))


def test_every_node_gets_the_code_and_sets_itself_up_with_the_lock(name):
    config = completed(name)
    sources = {Path(source) for source in config["file_mounts"].values() if not source.startswith("~")}
    assert all((ROOT / source).exists() for source in sources)
    assert sources >= {Path(one) for one in ("setup.py", "constraints.txt", "estimators", "cvd_cluster", "launch")}
    for key in ("head_setup_commands", "worker_setup_commands"):
        assert config[key] and all("launch/clusters/set_up_node.sh" in command for command in config[key])
    installs = [line for line in SET_UP.read_text().splitlines() if "install --quiet" in line]
    assert installs and all("-c constraints.txt" in line for line in installs)
    assert "python3.11" in SET_UP.read_text()


def test_the_on_prem_file_takes_the_autoscaler_that_launches_its_workers():
    config = read("local")
    assert all("RAY_enable_autoscaler_v2=0" in config[key][-1] for key in START)
    assert config["max_workers"] == len(config["provider"]["worker_ips"])
