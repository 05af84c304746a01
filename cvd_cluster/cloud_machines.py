"""Whether a cloud knows what a cluster file wants of its machines: `provider` and `node_config` of each node type.

Ray hands these to the cloud as they are, and a misspelt field is refused, or passed over, when the head is up and paid
for. The clouds' own descriptions of their machines come with what `ray up` needs to speak to them (the extras `gcp` and
`aws` of setup.py); where they are not installed it is said that nobody looked.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

# What Ray reads of `provider`: its ray-schema.json, and what its aws/, gcp/ and local/ read beside that.
_PROVIDER_KEYS = {
    "autoscaler_role", "autoscaler_role_binding", "autoscaler_service_account", "availability_zone", "aws_credentials",
    "cache_stopped_nodes", "cloudwatch", "coordinator_address", "disable_node_updaters", "external_head_ip",
    "gcp_credentials", "head_ip", "key_pair", "location", "module", "msi_identity_id", "msi_identity_principal_id",
    "namespace", "project_id", "region", "resource_group", "security_group", "subnet_id", "subscription_id", "tags",
    "type", "use_external_head_ip", "use_internal_ips", "worker_ips",
}  # fmt: skip
_RAYS_OWN = {"SubnetIds", "sourceInstanceTemplate"}  # which Ray takes out before it asks for a machine
_DESCRIBED_BY = {"gcp": "googleapiclient", "aws": "botocore"}


def troubles_of(config: Mapping[str, Any], *, announce: Callable[[str], None]) -> list[str]:
    """What a cloud does not know, a line each; [] if there is nothing.

    Args:
      config: the content of a cluster file.
      announce: takes a line if the machines cannot be judged here.
    """
    provider = config["provider"]
    troubles = []
    for key in set(provider) - _PROVIDER_KEYS:
        # Only what is nearly one: providers of others have keys of their own.
        if meant := difflib.get_close_matches(key, _PROVIDER_KEYS, n=1, cutoff=0.8):
            troubles.append(f"provider.{key} is unknown; is {meant[0]} meant?")
    needed = {"gcp": ("region", "availability_zone"), "aws": ("region",)}.get(provider["type"], ())
    troubles += [f"provider.{key} is missing" for key in needed if not provider.get(key)]
    troubles += _zones_elsewhere(provider)
    look = {"gcp": _google, "aws": _amazon}.get(provider["type"])
    if look is not None and importlib.util.find_spec(_DESCRIBED_BY[provider["type"]]) is None:
        announce(
            f"warning: node_config is not checked, for lack of {_DESCRIBED_BY[provider['type']]} here: "
            f"pip install -c constraints.txt -e '.[{provider['type']}]'"
        )
    elif look is not None:
        for name, kind in config.get("available_node_types", {}).items():
            place = f"available_node_types.{name}.node_config"
            node_config = kind.get("node_config") or {}
            troubles += [f"{place}{trouble}" for trouble in look(node_config)]
            if provider["type"] == "gcp" and (trouble := _other_gpus(node_config, kind.get("resources") or {})):
                troubles.append(f"available_node_types.{name}: {trouble}")
    return troubles


def _zones_elsewhere(provider: Mapping[str, Any]) -> Iterator[str]:
    # Ray takes the network of `region`, and the cloud puts no machine of another one's zone into it.
    region, zones = provider.get("region"), provider.get("availability_zone")
    if provider["type"] not in ("gcp", "aws") or not isinstance(region, str) or not isinstance(zones, str):
        return
    begin = f"{region}-" if provider["type"] == "gcp" else region
    for zone in map(str.strip, zones.split(",")):
        if not zone.startswith(begin):
            yield f"provider.availability_zone {zone} is not in provider.region {region}"


def _other_gpus(node_config: Mapping[str, Any], resources: Mapping[str, Any]) -> str | None:
    """Whether Ray would send a machine work for GPUs that it lacks, or none for those it has."""
    # Of a machine type with GPUs of its own node_config does not tell them.
    accelerators = node_config.get("guestAccelerators")
    if not isinstance(accelerators, list) or not all(isinstance(one, Mapping) for one in accelerators):
        return None
    has, said = sum(int(one.get("acceleratorCount", 0)) for one in accelerators), resources.get("GPU", 0)
    return None if has == said else f"node_config brings {has} GPUs, and resources.GPU says {said:g}"


def _google(node_config: Mapping[str, Any]) -> Iterator[str]:
    from googleapiclient import discovery_cache

    if "machineType" not in node_config and {"acceleratorType", "acceleratorConfig"} & node_config.keys():
        return  # a TPU, which is no instance
    node_config = {key: value for key, value in node_config.items() if key not in _RAYS_OWN}
    folder = Path(discovery_cache.__file__).parent / "documents"
    schemas = json.loads((folder / "compute.v1.json").read_text())["schemas"]
    yield from _against(node_config, {"$ref": "Instance"}, schemas, "")


def _against(value: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any], path: str) -> Iterator[str]:
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    kinds: dict[str, Any] = {"object": dict, "array": list, "string": (str, int), "integer": int, "boolean": bool}
    if isinstance(value, list) and schema["type"] == "object" and len(value) == 1:
        value = value[0]  # as Ray's own gcp/defaults.yaml has it, and Google takes it
    if not isinstance(value, kinds.get(schema["type"], object)):
        yield f"{path} is no {schema['type']}"
    elif schema.get("enum") and value not in schema["enum"]:
        yield f"{path}: {value} is none of {', '.join(schema['enum'])}"
    elif isinstance(value, dict) and "properties" in schema:
        for key, child in value.items():
            if key in schema["properties"]:
                yield from _against(child, schema["properties"][key], schemas, f"{path}.{key}")
            else:
                yield f"{path}.{key} is unknown"
    elif isinstance(value, list):
        for item in value:
            yield from _against(item, schema["items"], schemas, path)


def _amazon(node_config: Mapping[str, Any]) -> Iterator[str]:
    import botocore.session
    from botocore.validate import ParamValidator

    ec2 = botocore.session.get_session().get_service_model("ec2")
    request = ec2.operation_model("RunInstances").input_shape
    asked = {key: value for key, value in node_config.items() if key not in _RAYS_OWN}
    report = ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **asked}, request)
    if report.has_errors():
        yield f": {' '.join(report.generate_report().split())[:400]}"
    kind, known = asked.get("InstanceType"), request.members["InstanceType"].enum
    # Of a family that is known here: there are newer ones than this botocore.
    if isinstance(kind, str) and kind not in known and any(one.startswith(f"{kind.split('.')[0]}.") for one in known):
        near = ", ".join(difflib.get_close_matches(kind, known))
        yield f".InstanceType: Amazon has no {kind}" + (f"; is one of these meant: {near}?" if near else "")
