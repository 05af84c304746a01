"""Whether a cloud knows what a cluster file wants of its machines: `provider` and `node_config` of each node type.

Ray hands these to the cloud as they are, and a misspelt field is refused, or passed over, when the head is up and paid
for. The clouds' own descriptions of their machines come with what `ray up` needs to speak to them (the extras `gcp` and
`aws` of setup.py); where they are not installed it is said that nobody looked. What they do not say, the names of
Google's machines and what a machine has, is read from the names here, as far as those tell it.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import re
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
# Machine types whose CPUs stand in their names, and which have no GPUs but guestAccelerators:
# cloud.google.com/compute/docs/general-purpose-machines and …/compute-optimized-machines.
_GOOGLES_CPUS = re.compile(
    r"(?:(?:n1|n2|n2d|e2|c2|c2d|t2d)-(?:standard|highmem|highcpu)|(?:(?:n1|n2|n2d|e2)-)?custom)-(\d+)(?:-.*)?"
)
# Of these an .Nxlarge has 4 N CPUs, and one GPU where not more: aws.amazon.com/ec2/instance-types.
_AMAZONS_CPUS = re.compile(r"(m5|c5|r5|g4dn|g5|p3)\.(\d*)xlarge")
_WITH_GPUS = {"g4dn", "g5", "p3"}
_SEVERAL_GPUS = {
    "g4dn.12xlarge": 4, "g5.12xlarge": 4, "g5.24xlarge": 4, "g5.48xlarge": 8, "p3.8xlarge": 4, "p3.16xlarge": 8,
}  # fmt: skip
# How Google names machines: cloud.google.com/compute/docs/machine-resource, and …/gpus for the accelerators.
_GOOGLES_NAME = re.compile(
    r"(?:[a-z]+\d+[a-z]*-)?custom-(?:\d+|micro|small|medium)-\d+(?:-ext)?"
    r"|[a-z]+\d+[a-z]*-(?:micro|small|medium"
    r"|(?:standard|highmem|highcpu|megamem|ultramem|hypermem|[a-z]+[gt]pu)-\d+[a-z]?(?:-[a-z]+)*)"
)
_GOOGLES_GPUS = [
    *(f"nvidia-tesla-{chip}" for chip in ("k80", "p4", "p100", "v100", "t4", "a100")), "nvidia-a100-80gb", "nvidia-l4",
    "nvidia-h100-80gb", "nvidia-h100-mega-80gb", "nvidia-h200-141gb", "nvidia-b200", "nvidia-gb200",
]  # fmt: skip
# To these Google adds nothing: another name of theirs is a slip of the pen, and not newer than this list.
_FINISHED = re.compile(r"(?:(?:n1|n2|n2d|e2|c2|c2d|t2d|g2)-|nvidia-tesla-).*")


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
    if look is None:
        return troubles
    described = importlib.util.find_spec(_DESCRIBED_BY[provider["type"]]) is not None
    if not described:
        announce(
            f"warning: the fields of node_config are not checked, for lack of {_DESCRIBED_BY[provider['type']]} here: "
            f"pip install -c constraints.txt -e '.[{provider['type']}]'"
        )
    for name, kind in config.get("available_node_types", {}).items():
        place = f"available_node_types.{name}"
        node_config, resources = kind.get("node_config") or {}, kind.get("resources") or {}
        if described:
            troubles += [f"{place}.node_config{trouble}" for trouble in look(node_config)]
        for key, name_there in _unknown_to_google(node_config) if provider["type"] == "gcp" else ():
            unknown = f"{place}.node_config.{key} {name_there} is none of Google's that this project knows"
            if _FINISHED.fullmatch(name_there):
                troubles.append(unknown + _meant(name_there))
            else:
                announce(f"warning: {unknown}: look whether Google spells it so")
        troubles += [f"{place}: {trouble}" for trouble in _broken_promises(node_config, resources)]
    return troubles


def brought_by(machine: str) -> tuple[int, int] | None:
    """The CPUs and GPUs that come with a machine type, without guestAccelerators; None if its name does not tell."""
    if found := _GOOGLES_CPUS.fullmatch(machine.rpartition("/")[2]):
        return int(found[1]), 0
    if found := _AMAZONS_CPUS.fullmatch(machine):
        return 4 * int(found[2] or 1), _SEVERAL_GPUS.get(machine, int(found[1] in _WITH_GPUS))
    return None


def _zones_elsewhere(provider: Mapping[str, Any]) -> Iterator[str]:
    # Ray takes the network of `region`, and the cloud puts no machine of another one's zone into it.
    region, zones = provider.get("region"), provider.get("availability_zone")
    if provider["type"] not in ("gcp", "aws") or not isinstance(region, str) or not isinstance(zones, str):
        return
    begin = f"{region}-" if provider["type"] == "gcp" else region
    for zone in map(str.strip, zones.split(",")):
        if not zone.startswith(begin):
            yield f"provider.availability_zone {zone} is not in provider.region {region}"


def _unknown_to_google(node_config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names that are not as Google's are, each with its key; the last part of those that are paths."""
    machine = node_config.get("machineType")
    if isinstance(machine, str) and not _GOOGLES_NAME.fullmatch(name := machine.rpartition("/")[2]):
        yield "machineType", name
    for one in _accelerators(node_config) or ():
        if isinstance(chip := one.get("acceleratorType"), str):
            name = chip.rpartition("/")[2]
            if name.removesuffix("-vws") not in _GOOGLES_GPUS:
                yield "guestAccelerators.acceleratorType", name


def _meant(name: str) -> str:
    series = name.partition("-")[0]
    known = [f"{series}-{kind}-{cpus}" for kind in ("standard", "highmem", "highcpu") for cpus in (2, 4, 8, 16, 32, 64)]
    near = ", ".join(difflib.get_close_matches(name, _GOOGLES_GPUS if series == "nvidia" else known))
    return f"; is one of these meant: {near}?" if near else ""


def _accelerators(node_config: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """The guestAccelerators, [] without them; None if they are something else, which is told elsewhere."""
    found = node_config.get("guestAccelerators", [])
    return found if isinstance(found, list) and all(isinstance(one, Mapping) for one in found) else None


def _broken_promises(node_config: Mapping[str, Any], resources: Mapping[str, Any]) -> Iterator[str]:
    """Whether Ray would send a machine work for CPUs or GPUs that it lacks, or none for the GPUs that it has."""
    machine = node_config.get("machineType", node_config.get("InstanceType"))
    own = brought_by(machine) if isinstance(machine, str) else None
    if own is not None and (said := resources.get("CPU", 0)) > own[0]:
        yield f"node_config brings {own[0]} CPUs, and resources.CPU says {said:g}"
    has, said = _gpus(node_config, own), resources.get("GPU", 0)
    # What is not said of a machine of Amazon's Ray asks Amazon, and 0 keeps work away from it.
    if has is not None and has != said and (said or "InstanceType" not in node_config):
        yield f"node_config brings {has} GPUs, and resources.GPU says {said:g}"


def _gpus(node_config: Mapping[str, Any], own: tuple[int, int] | None) -> int | None:
    """All GPUs of a machine; None if that is not known."""
    added = _accelerators(node_config)
    counts: list[Any] = [one.get("acceleratorCount", 0) for one in added or ()]
    if added is None or not all(isinstance(count, int) for count in counts):
        return None
    # A machine type that is not known here, or a template, may bring GPUs without a word in node_config.
    if not added and (own is None or "sourceInstanceTemplate" in node_config):
        return None
    return int(sum(counts)) + (own[1] if own else 0)


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
