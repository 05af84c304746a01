"""The KubeRay manifest: its pods and policy against Kubernetes' schema, the rest against our rules.

KubeRay's own schema comes in no package. The fields below are those of its API reference for 1.6 that we use:
https://docs.ray.io/en/master/cluster/kubernetes/references/api.html
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

CLUSTERS = Path(__file__).parents[1] / "launch" / "clusters"
FIELDS = {
    "spec": {
        "authOptions", "autoscalerOptions", "enableInTreeAutoscaling",
        "headGroupSpec", "rayVersion", "workerGroupSpecs",
    },
    "head": {"rayStartParams", "serviceType", "template"},
    "worker": {"groupName", "maxReplicas", "minReplicas", "rayStartParams", "replicas", "template"},
}  # fmt: skip


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    loaded = yaml.safe_load_all((CLUSTERS / "kuberay.yaml").read_text())
    return {document["kind"]: document for document in loaded}


@pytest.fixture(scope="module")
def spec(documents) -> dict[str, Any]:
    found: dict[str, Any] = documents["RayCluster"]["spec"]
    return found


@pytest.fixture(scope="module")
def groups(spec) -> dict[str, dict[str, Any]]:
    """All groups of pods, by name; the head's is "head"."""
    return {"head": spec["headGroupSpec"], **{group["groupName"]: group for group in spec["workerGroupSpecs"]}}


def check(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, "1.31", strict=True)


def test_kubernetes_accepts_the_pods_and_the_policy_and_refuses_a_misspelt_key(documents, groups):
    check(documents["NetworkPolicy"])
    for group in groups.values():
        template = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": group["template"]}
        check(template)
        with pytest.raises(kubernetes_validate.ValidationError, match="containrs"):
            check({**template, "template": {"spec": {**group["template"]["spec"], "containrs": []}}})


def test_every_field_is_one_of_kuberays(documents, spec):
    assert documents["RayCluster"]["apiVersion"] == "ray.io/v1"
    assert set(spec) == FIELDS["spec"]
    assert set(spec["headGroupSpec"]) == FIELDS["head"]
    assert all(set(group) == FIELDS["worker"] for group in spec["workerGroupSpecs"])
    # Both are maps of text to text.
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_the_token_is_asked_for_and_nothing_is_reported_or_open(documents, spec, groups):
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert "0.0.0.0" not in (CLUSTERS / "kuberay.yaml").read_text()
    for group in groups.values():
        (container,) = group["template"]["spec"]["containers"]
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
        assert (
            container["securityContext"]["runAsNonRoot"]
            and not container["securityContext"]["allowPrivilegeEscalation"]
        )
    ours = {"matchLabels": {"ray.io/cluster": documents["RayCluster"]["metadata"]["name"]}}
    policy = documents["NetworkPolicy"]["spec"]
    assert policy["podSelector"] == ours and policy["policyTypes"] == ["Ingress"]
    assert policy["ingress"] == [{"from": [{"podSelector": ours}]}]


def test_the_head_takes_no_work_and_workers_come_only_when_wanted(spec, groups):
    head = spec["headGroupSpec"]["rayStartParams"]
    assert (head["num-cpus"], head["num-gpus"]) == ("0", "0")
    assert spec["enableInTreeAutoscaling"] and spec["autoscalerOptions"]["idleTimeoutSeconds"] <= 900
    assert sorted(groups[name]["rayStartParams"]["num-gpus"] for name in groups if name != "head") == ["0", "1", "4"]
    assert all(
        group["replicas"] == group["minReplicas"] == 0 < group["maxReplicas"] for group in spec["workerGroupSpecs"]
    )


def test_a_pod_is_given_what_its_ray_is_told(groups):
    for name, group in groups.items():
        resources = group["template"]["spec"]["containers"][0]["resources"]
        assert resources["requests"] == resources["limits"]
        if name != "head":
            assert resources["limits"]["cpu"] == group["rayStartParams"]["num-cpus"]
            assert resources["limits"].get("nvidia.com/gpu", "0") == group["rayStartParams"]["num-gpus"]


def test_every_image_has_a_version_and_ray_is_the_locked_one(spec, groups):
    images = {container["image"] for group in groups.values() for container in group["template"]["spec"]["containers"]}
    assert len(images) == 1 and all(re.search(r":\d+\.\d+\.\d+$", image) for image in images)
    constraints = (CLUSTERS.parents[1] / "constraints.txt").read_text().splitlines()
    assert f"ray=={spec['rayVersion']}" in constraints
    dockerfile = (CLUSTERS / "Dockerfile").read_text()
    assert re.search(r"^FROM python:3\.11\.\d+-slim-bookworm$", dockerfile, re.M)
    assert all("-c constraints.txt" in line for line in dockerfile.splitlines() if "pip install" in line)
