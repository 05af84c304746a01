from __future__ import annotations

import re
from typing import Any

import pytest

from cvd_cluster.cloud_machines import brought_by, troubles_of

_GCP = {"type": "gcp", "region": "us-central1", "availability_zone": "us-central1-a"}
_AWS = {"type": "aws", "region": "us-east-2"}


def troubles(
    machine: str, resources: dict[str, int] | None = None, *, warnings: list[str] | None = None, **more: Any
) -> list[str]:
    """What is said of one machine of Amazon's, if it has their full stop, or of Google's."""
    amazons = re.fullmatch(r"\w+\.\w+", machine)
    node_config = {"InstanceType": machine, "ImageId": "ami-1"} if amazons else {"machineType": machine}
    kind = {"resources": resources or {}, "node_config": {**node_config, **more}}
    config = {"provider": _AWS if amazons else _GCP, "available_node_types": {"x": kind}}
    found = troubles_of(config, announce=pytest.fail if warnings is None else warnings.append)
    return [trouble.removeprefix("available_node_types.x") for trouble in found]


def with_gpu(chip: str, **more: Any) -> list[str]:
    gpus = [{"acceleratorType": chip, "acceleratorCount": 1}]
    return troubles("n1-standard-8", {"CPU": 8, "GPU": 1}, guestAccelerators=gpus, **more)


@pytest.mark.parametrize(
    ("machine", "has"),
    [
        ("n1-standard-8", (8, 0)),
        ("zones/us-central1-a/machineTypes/n2-highmem-16", (16, 0)),
        ("custom-6-20480", (6, 0)),
        ("n2d-custom-12-65536-ext", (12, 0)),
        ("e2-medium", None),
        ("a2-highgpu-1g", None),
        ("g2-standard-8", None),
        ("m5.xlarge", (4, 0)),
        ("c5.18xlarge", (72, 0)),
        ("g4dn.8xlarge", (32, 1)),
        ("g4dn.12xlarge", (48, 4)),
        ("g5.48xlarge", (192, 8)),
        ("p3.2xlarge", (8, 1)),
        ("p3.16xlarge", (64, 8)),
        ("g4dn.metal", None),
        ("p3dn.24xlarge", None),
    ],
)
def test_what_a_machine_has_is_read_from_its_name(machine: str, has: tuple[int, int] | None) -> None:
    assert brought_by(machine) == has


@pytest.mark.parametrize(
    ("machine", "resources", "said"),
    [
        ("n1-standard-8", {"CPU": 9}, "node_config brings 8 CPUs, and resources.CPU says 9"),
        ("e2-custom-4-8192", {"CPU": 8}, "node_config brings 4 CPUs, and resources.CPU says 8"),
        ("n1-standard-8", {"CPU": 8, "GPU": 1}, "node_config brings 0 GPUs, and resources.GPU says 1"),
        ("m5.2xlarge", {"CPU": 16}, "node_config brings 8 CPUs, and resources.CPU says 16"),
        ("m5.2xlarge", {"CPU": 8, "GPU": 1}, "node_config brings 0 GPUs, and resources.GPU says 1"),
        ("g4dn.16xlarge", {"CPU": 64, "GPU": 4}, "node_config brings 1 GPUs, and resources.GPU says 4"),
        ("g5.12xlarge", {"CPU": 48, "GPU": 1}, "node_config brings 4 GPUs, and resources.GPU says 1"),
    ],
)
def test_more_than_a_machine_has_is_told(machine: str, resources: dict[str, int], said: str) -> None:
    assert troubles(machine, resources) == [f": {said}"]


@pytest.mark.parametrize(
    ("machine", "resources"),
    [
        ("n1-standard-8", {"CPU": 0}),  # a head
        ("n1-standard-8", {"CPU": 7}),
        ("a2-highgpu-2g", {"CPU": 24, "GPU": 2}),  # its GPUs are its own
        ("g2-standard-24", {"CPU": 24, "GPU": 2}),
        ("e2-medium", {"CPU": 2}),
        ("g4dn.12xlarge", {"CPU": 48}),  # Ray asks Amazon
        ("g4dn.12xlarge", {"CPU": 0, "GPU": 0}),  # no work for it
        ("p4d.24xlarge", {"CPU": 96, "GPU": 8}),
    ],
)
def test_what_a_machine_may_have_is_allowed(machine: str, resources: dict[str, int]) -> None:
    assert troubles(machine, resources) == []


def test_gpus_of_a_template_are_not_judged() -> None:
    assert troubles("n1-standard-8", {"CPU": 8, "GPU": 1}, sourceInstanceTemplate="global/instanceTemplates/x") == []


@pytest.mark.parametrize(
    "machine",
    [
        "n1-standard-8",
        "n1-megamem-96",
        "n1-ultramem-40",
        "f1-micro",
        "g1-small",
        "e2-micro",
        "e2-medium",
        "e2-custom-small-2048",
        "custom-4-5120",
        "n2-custom-6-20480-ext",
        "n2d-highcpu-224",
        "c2d-highmem-112",
        "c3-standard-4-lssd",
        "c3-standard-192-metal",
        "c3d-highcpu-8",
        "c4a-standard-16",
        "t2a-standard-8",
        "m1-megamem-96",
        "m4-hypermem-16",
        "a2-ultragpu-8g",
        "a2-megagpu-16g",
        "a3-edgegpu-8g",
        "a4x-highgpu-4g",
        "g2-standard-4",
        "g2-custom-4-19456",
        "z3-highmem-14-standardlssd",
        "x4-megamem-960-metal",
        "ct5lp-hightpu-4t",
        "https://www.googleapis.com/compute/v1/projects/p/zones/z/machineTypes/n1-standard-8",
    ],
)
def test_names_of_googles_machines_are_known(machine: str) -> None:
    assert troubles(machine) == []


@pytest.mark.parametrize(
    ("machine", "meant"),
    [
        ("n1-standrd-8", "n1-standard-8"),
        ("n2-standard8", "n2-standard-8"),
        ("zones/z/machineTypes/e2-higmem-4", "e2-highmem-4"),
        ("n1-standard", "n1-standard-"),
    ],
)
def test_a_misspelt_machine_of_google_is_told(machine: str, meant: str) -> None:
    (trouble,) = troubles(machine)
    name = machine.rpartition("/")[2]
    assert trouble.startswith(f".node_config.machineType {name} is none of Google's that this project knows")
    assert meant in trouble.partition("meant: ")[2]


@pytest.mark.parametrize("machine", ["standard-8", "nl-standard-8", "c9-turbo-8"])
def test_a_machine_that_google_may_have_since_is_warned_of(machine: str) -> None:
    lines: list[str] = []
    assert troubles(machine, warnings=lines) == []
    assert len(lines) == 1 and f"machineType {machine} is none of Google's that this project knows" in lines[0]


@pytest.mark.parametrize(
    "chip",
    [
        "nvidia-tesla-t4",
        "nvidia-tesla-t4-vws",
        "nvidia-tesla-p100",
        "nvidia-tesla-k80",
        "nvidia-l4",
        "nvidia-a100-80gb",
        "nvidia-h100-80gb",
        "nvidia-h100-mega-80gb",
        "nvidia-h200-141gb",
        "projects/p/zones/z/acceleratorTypes/nvidia-tesla-v100",
    ],
)
def test_names_of_googles_gpus_are_known(chip: str) -> None:
    assert with_gpu(chip) == []


def test_a_misspelt_gpu_of_google_is_told_and_a_newer_one_warned_of() -> None:
    (trouble,) = with_gpu("nvidia-tesla-t44")
    assert trouble.startswith(".node_config.guestAccelerators.acceleratorType nvidia-tesla-t44 is none of Google's")
    assert "nvidia-tesla-t4" in trouble.partition("meant: ")[2]
    lines: list[str] = []
    assert with_gpu("nvidia-x900", warnings=lines) == []
    assert len(lines) == 1 and "nvidia-x900" in lines[0]
