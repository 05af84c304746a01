"""The file of `ray up`, read as Ray reads it, and everything in it that can be wrong before a machine is paid for."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from cvd_cluster.cloud_machines import troubles_of
from estimators.errors import UserError, first_of

# Addresses that stand in documents and belong to nobody: RFC 5737.
_EXAMPLES = ipaddress.ip_network("192.0.2.0/24")
_TOKEN = "~/.ray/auth_token"
_MOUNTED = ".ray/auth_token"
_START = ("head_start_ray_commands", "worker_start_ray_commands")
_SSH_PORT = 22
_CONNECT_SECS = 5.0
# By their names as people write them, small and in one word.
_RAYS_RESOURCES = {"cpu": "CPU", "gpu": "GPU", "memory": "memory", "objectstorememory": "object_store_memory"}


def read_cluster_file(path: str, *, announce: Callable[[str], None]) -> Mapping[str, Any]:
    """Reads and checks a cluster file; relative paths in it are those of the current folder, as for `ray up`.

    Args:
      path: of the file.
      announce: called with a line for what is allowed, but opens a door.

    Returns:
      Its content, with Ray's defaults filled in.

    Raises:
      UserError: it is no cluster file, Ray does not accept it, it misspells one of Ray's resources, an address in it is
        none or stands there twice, its cloud knows no such machine, something in it is still an example, a file that it
        copies is missing, or a machine that it names cannot be reached.
    """
    config = _accepted_by_ray(path, _loaded(path))
    if troubles := [*_wrong_addresses(config), *_misspelt_resources(config), *troubles_of(config, announce=announce)]:
        raise _unsound(path, "; ".join(troubles), "the key that is named; cluster.yaml and launch/clusters show how")
    _check_nothing_is_an_example(path, config)
    _check_local_files(path, config)
    _warn_of_an_open_token(config, announce)
    _warn_of_public_addresses(config, announce)
    if config["provider"]["type"] == "local" and not config.get("auth", {}).get("ssh_proxy_command"):
        _check_reachable(path, _reached_from_here(config))
    for key in _START:
        if not any("RAY_AUTH_MODE=token" in command for command in config[key]):
            announce(
                f"warning: no command of {key} in {path} sets RAY_AUTH_MODE=token: whoever reaches this cluster's "
                "ports can run programs on it"
            )
    commands = " ".join(command for key in _START for command in config[key])
    if "RAY_AUTH_MODE=token" in commands and not any(path.endswith(_MOUNTED) for path in config["file_mounts"]):
        raise _unsound(
            path,
            "its nodes want a token (RAY_AUTH_MODE=token), and file_mounts gives them none: Ray would not start",
            f"file_mounts: {_TOKEN}: {_TOKEN}",
        )
    return config


def machines(config: Mapping[str, Any]) -> list[str]:
    """The addresses of an on-prem cluster, the head's first."""
    provider = config["provider"]
    return [provider["head_ip"], *provider["worker_ips"]] if _names_its_machines(provider) else []


@contextlib.contextmanager
def ray_speaks_into(said: io.StringIO) -> Iterator[None]:
    """Where Ray prepares a cluster file it speaks to the terminal, among others of each file that is no folder."""
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield


def _loaded(path: str) -> dict[str, Any]:
    try:
        documents = list(yaml.safe_load_all(Path(path).read_text()))  # a manifest for KubeRay holds several
    except OSError as error:
        raise _unsound(path, f"it cannot be read: {error.strerror}", "--cluster_file to the file of `ray up`") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _unsound(path, f"it is no YAML: {' '.join(str(error).split())}", "the line that is named") from None
    loaded = documents[0] if documents else None
    if isinstance(loaded, dict) and str(loaded.get("apiVersion", "")).startswith("ray.io/"):
        raise _unsound(path, "a manifest for KubeRay", "check it with `kubectl apply --dry-run=server -f …`")
    if not isinstance(loaded, dict) or not isinstance(loaded.get("provider"), dict):
        raise _unsound(path, "no `provider:` with a `type:`", "--cluster_file to the file of `ray up`")
    mounts = loaded.get("file_mounts")
    for target, source in mounts.items() if isinstance(mounts, dict) else ():
        if not isinstance(source, str):
            raise _unsound(path, f"file_mounts has nothing to copy to {target}", "that line, as `THERE: HERE`")
    return loaded


def _accepted_by_ray(path: str, loaded: dict[str, Any]) -> dict[str, Any]:
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    said = io.StringIO()
    try:
        with ray_speaks_into(said):
            prepared: dict[str, Any] = prepare_config(loaded)
            validate_config(prepared)
    except jsonschema.ValidationError as error:
        where = ".".join(str(part) for part in error.absolute_path) or "the outermost level"
        raise _unsound(path, f"at {where}: {error.message[:300]}", "that key; cluster.yaml shows all of them") from None
    except Exception as error:  # ValueError, KeyError, AttributeError, Click's own, by what is wrong
        told = " ".join(f"{said.getvalue()} {type(error).__name__}: {error}".split())
        raise _unsound(path, told[-300:], "the key that is named; cluster.yaml shows all of them") from None
    return prepared


def _names_its_machines(provider: Mapping[str, Any]) -> bool:
    return provider["type"] == "local" and "coordinator_address" not in provider


def _wrong_addresses(config: Mapping[str, Any]) -> Iterator[str]:
    """Of an on-prem file: Ray's schema takes any list for worker_ips, and `ray up` dies of it with an assertion."""
    provider = config["provider"]
    if not _names_its_machines(provider):
        return
    given = [("head_ip", provider.get("head_ip")), *(("worker_ips", one) for one in provider.get("worker_ips", ()))]
    # Blank, it is as if it were not there.
    outside = [("external_head_ip", one)] if (one := provider.get("external_head_ip")) else []
    for key, address in [*given, *outside]:
        if address is None or not str(address).strip():
            yield f"provider.{key} has a blank entry"  # which would be this machine
        elif not isinstance(address, str):
            yield f"provider.{key}: {address!r} is no address"
    addresses = [address for _, address in given if isinstance(address, str) and address.strip()]
    for address in dict.fromkeys(addresses):
        if (times := addresses.count(address)) > 1:
            yield f"provider.head_ip and worker_ips name {address} {times} times, and a machine is one node"


def _misspelt_resources(config: Mapping[str, Any]) -> Iterator[str]:
    """Ray takes any other name for a resource of one's own, and a machine without CPU for one that nobody knows."""
    for name, kind in config.get("available_node_types", {}).items():
        for key in kind.get("resources") or ():
            known = _RAYS_RESOURCES.get(re.sub(r"[\s_-]", "", key.lower()).removesuffix("s"))
            if known not in (None, key):
                yield f"available_node_types.{name}.resources.{key}: Ray calls it {known}"


def _check_nothing_is_an_example(path: str, config: Mapping[str, Any]) -> None:
    provider = config["provider"]
    if provider["type"] == "gcp" and not provider.get("project_id"):
        raise _unsound(path, "provider.project_id is not set", "provider.project_id to the project that pays")
    for address in _all_addresses(config):
        with contextlib.suppress(ValueError):  # a name
            if ipaddress.ip_address(address) in _EXAMPLES:
                raise _unsound(path, f"{address} is an example's address", "the addresses of provider")


def _check_local_files(path: str, config: Mapping[str, Any]) -> None:
    for source in config["file_mounts"].values():
        if source == _TOKEN and not os.path.exists(os.path.expanduser(source)):
            raise _unsound(
                path,
                f"every node gets {_TOKEN}, and there is none on this machine",
                "make it once: (umask 077 && ray get-auth-token --generate >/dev/null)",
            )
        if not os.path.exists(os.path.expanduser(source)):
            raise _unsound(path, f"file_mounts copies {source}, which is not there", "run this where setup.py lies")
    key = config.get("auth", {}).get("ssh_private_key")
    if key and not os.path.exists(os.path.expanduser(key)):
        raise _unsound(path, f"auth.ssh_private_key is {key}, which is not there", "auth.ssh_private_key")


def _warn_of_an_open_token(config: Mapping[str, Any], announce: Callable[[str], None]) -> None:
    if _TOKEN in config["file_mounts"].values() and os.stat(os.path.expanduser(_TOKEN)).st_mode & 0o077:
        announce(f"warning: others on this machine can read {_TOKEN}, and so enter the cluster: chmod 600 {_TOKEN}")


def _warn_of_public_addresses(config: Mapping[str, Any], announce: Callable[[str], None]) -> None:
    public = []
    for address in _all_addresses(config):
        with contextlib.suppress(ValueError):  # a name
            if ipaddress.ip_address(address).is_global:
                public.append(address)
    if public:
        announce(
            f"warning: {first_of(public)}: public, and TensorFlow's ports ask nobody for a token. Let a firewall admit "
            "nothing but SSH from outside, or give the machines private addresses (docs/security.md)"
        )


def _all_addresses(config: Mapping[str, Any]) -> list[str]:
    outside = config["provider"].get("external_head_ip")
    return machines(config) + ([outside] if outside and machines(config) else [])


def _reached_from_here(config: Mapping[str, Any]) -> list[str]:
    """What Ray's local provider dials from this machine, where the others are dialled by the head alone."""
    provider = config["provider"]
    inside = provider.get("use_internal_ips") and not provider.get("use_external_head_ip")
    outside = None if inside else provider.get("external_head_ip")
    return [outside] if outside and machines(config) else machines(config)


def _check_reachable(path: str, addresses: list[str]) -> None:
    with ThreadPoolExecutor(max(1, len(addresses))) as pool:
        troubles = [text for text in pool.map(_trouble_of, addresses) if text]
    if troubles:
        raise _unsound(
            path,
            f"{len(troubles)} of {len(addresses)} machines cannot be reached: {'; '.join(troubles)}",
            "start those machines and their sshd, or the addresses of provider",
        )


def _trouble_of(address: str) -> str:
    try:
        socket.create_connection((address, _SSH_PORT), timeout=_CONNECT_SECS).close()
    except (OSError, UnicodeError) as error:  # the second of what can be no name, as 10.0.0..1
        return f"{address} port {_SSH_PORT}: {getattr(error, 'strerror', None) or error}"
    return ""


def _unsound(path: str, found: str, change: str) -> UserError:
    return UserError("The cluster file is not valid", asked=f"--cluster_file={path}", found=found, change=change)
