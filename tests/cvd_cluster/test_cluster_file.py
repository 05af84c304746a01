from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cvd_cluster import cluster_file
from cvd_cluster.cluster_file import machines, read_cluster_file
from estimators.errors import UserError

_ROOT = Path(__file__).parents[2]
_GCP = _ROOT / "cluster.yaml"
_AWS = _ROOT / "launch" / "clusters" / "aws.yaml"
_ON_PREM = _ROOT / "launch" / "clusters" / "on_prem.yaml"


@pytest.fixture(autouse=True)
def at_the_laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the project's folder, with a token and a key."""
    monkeypatch.chdir(_ROOT)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (".ray/auth_token", ".ssh/estimators"):
        path = tmp_path / "home" / name
        path.parent.mkdir(parents=True)
        path.write_text("secret")
        path.chmod(0o600)


@pytest.fixture
def sshd(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a machine that answers where sshd does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(cluster_file, "_SSH_PORT", server.getsockname()[1])
        yield "127.0.0.1"


def written(tmp_path: Path, source: Path, change: Any = lambda config: None) -> str:
    """`source` with `change` made to it, after what a person fills in."""
    config = yaml.safe_load(source.read_text())
    if source == _GCP:
        config["provider"]["project_id"] = "a-project"
    change(config)
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def of_cpu(config: Any) -> Any:
    return config["available_node_types"]["cpu"]["node_config"]


def on_prem(tmp_path: Path, head: str, *workers: Any, **more: Any) -> str:
    provider = {"type": "local", "head_ip": head, "worker_ips": list(workers), **more}
    return written(tmp_path, _ON_PREM, lambda config: config.update(provider=provider, max_workers=len(workers)))


def refused(path: str) -> str:
    with pytest.raises(UserError) as caught:
        read_cluster_file(path, announce=pytest.fail)
    assert f"--cluster_file={path}" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("source", [_GCP, _AWS])
def test_a_file_that_is_filled_in_is_read_without_a_word(
    tmp_path: Path, source: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = read_cluster_file(written(tmp_path, source), announce=pytest.fail)
    assert config["available_node_types"]["gpu_4"]["resources"]["GPU"] == 4
    assert machines(config) == []
    assert capfd.readouterr() == ("", "")


def test_machines_of_ones_own_are_reached_before_it_is_said_that_all_is_well(tmp_path: Path, sshd: str) -> None:
    assert machines(read_cluster_file(on_prem(tmp_path, sshd, "localhost"), announce=pytest.fail)) == [
        sshd,
        "localhost",
    ]


def test_a_machine_that_is_not_reached_is_named(tmp_path: Path, sshd: str) -> None:
    said = refused(on_prem(tmp_path, sshd, "127.0.0.2"))
    assert "1 of 2 machines cannot be reached: 127.0.0.2 port" in said and "refused" in said


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        (("127.0.0.1", "127.0.0.1"), "provider.head_ip and worker_ips name 127.0.0.1 2 times"),
        (("127.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.2"), "name 10.0.0.2 3 times"),
        (("127.0.0.1", 10), "provider.worker_ips: 10 is no address"),
        (("127.0.0.1", ["10.0.0.2"]), "provider.worker_ips: ['10.0.0.2'] is no address"),
        (("127.0.0.1", None), "provider.worker_ips has a blank entry"),
        (("127.0.0.1", " "), "provider.worker_ips has a blank entry"),
        (("",), "provider.head_ip has a blank entry"),
    ],
)
def test_what_is_no_address_or_stands_there_twice_is_told(
    tmp_path: Path, sshd: str, addresses: tuple[Any, ...], said: str
) -> None:
    assert said in refused(on_prem(tmp_path, *addresses))


def test_what_can_be_no_name_of_a_machine_is_told(tmp_path: Path, sshd: str) -> None:
    assert "10.0.0..1 port" in refused(on_prem(tmp_path, sshd, "10.0.0..1"))


def test_behind_an_external_address_only_that_is_tried(tmp_path: Path, sshd: str) -> None:
    inside = ["127.0.0.2", "127.0.0.3"]
    path = on_prem(tmp_path, *inside, external_head_ip=sshd)
    assert machines(read_cluster_file(path, announce=pytest.fail)) == inside
    assert "1 of 1 machines cannot be reached: 127.0.0.4" in refused(
        on_prem(tmp_path, *inside, external_head_ip="127.0.0.4")
    )
    # Ray then dials as if it were not there.
    assert "2 of 2" in refused(on_prem(tmp_path, *inside, external_head_ip=sshd, use_internal_ips=True))
    assert "external_head_ip: 10 is no address" in refused(on_prem(tmp_path, *inside, external_head_ip=10))
    assert "192.0.2.1 is an example" in refused(on_prem(tmp_path, *inside, external_head_ip="192.0.2.1"))


@pytest.mark.parametrize(
    ("head", "worker", "outside", "public"),
    [
        ("10.0.0.1", "head.example.org", None, ""),
        ("10.0.0.1", "8.8.8.8", None, "8.8.8.8"),
        ("8.8.4.4", "8.8.8.8", None, "8.8.4.4, 8.8.8.8"),
        ("10.0.0.1", "192.168.0.2", "8.8.4.4", "8.8.4.4"),
    ],
)
def test_public_addresses_are_warned_of(
    tmp_path: Path, head: str, worker: str, outside: str | None, public: str
) -> None:
    def through_another_host(config: Any) -> None:  # so that none is tried
        config["provider"].update(head_ip=head, worker_ips=[worker], external_head_ip=outside)
        config["auth"]["ssh_proxy_command"] = "ssh -W %h:%p gate"

    lines: list[str] = []
    read_cluster_file(written(tmp_path, _ON_PREM, through_another_host), announce=lines.append)
    assert [line.partition(": public, ")[0] for line in lines] == ([f"warning: {public}"] if public else [])
    assert all("firewall" in line and "docs/security.md" in line for line in lines)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("CPUs", "CPU"),
        ("cpu", "CPU"),
        ("GPUs", "GPU"),
        ("gpu", "GPU"),
        ("Memory", "memory"),
        ("objectStoreMemory", "object_store_memory"),
    ],
)
@pytest.mark.parametrize("source", [_GCP, _AWS])
def test_a_misspelt_resource_is_told(tmp_path: Path, source: Path, given: str, meant: str) -> None:
    said = refused(
        written(tmp_path, source, lambda config: config["available_node_types"]["cpu"].update(resources={given: 8}))
    )
    assert f"available_node_types.cpu.resources.{given}: Ray calls it {meant}" in said


def test_a_resource_of_ones_own_is_allowed(tmp_path: Path) -> None:
    own = {"CPU": 8, "memory": 1, "object_store_memory": 1, "scanner": 1, "gpu_slots": 2, "cpu2": 1}
    path = written(tmp_path, _GCP, lambda config: config["available_node_types"]["cpu"].update(resources=own))
    assert read_cluster_file(path, announce=pytest.fail)["available_node_types"]["cpu"]["resources"] == own


@pytest.mark.parametrize("count", [None, "two"])
def test_a_number_of_gpus_that_is_none_is_told(tmp_path: Path, count: object) -> None:
    def change(config: Any) -> None:
        gpus = config["available_node_types"]["gpu_1"]["node_config"]["guestAccelerators"]
        gpus[0]["acceleratorCount"] = count

    assert "gpu_1.node_config.guestAccelerators.acceleratorCount is no integer" in refused(
        written(tmp_path, _GCP, change)
    )


def test_a_line_that_copies_nothing_is_named(tmp_path: Path) -> None:
    said = refused(written(tmp_path, _GCP, lambda config: config["file_mounts"].update({"~/mine": None})))
    assert "file_mounts has nothing to copy to ~/mine" in said


@pytest.mark.parametrize("key", ["max_worker", "head_nod_type"])
def test_a_misspelt_key_is_named(tmp_path: Path, key: str) -> None:
    assert key in refused(written(tmp_path, _GCP, lambda config: config.update({key: 1})))


def test_a_value_of_the_wrong_kind_is_named_with_its_place(tmp_path: Path) -> None:
    said = refused(
        written(tmp_path, _GCP, lambda config: config["available_node_types"]["cpu"].update(max_workers="many"))
    )
    assert "available_node_types.cpu.max_workers" in said and "'many'" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: config.update(head_node_type="haed"), "head"),
        (lambda config: config["provider"].update(type="gpc"), "gpc"),
        (lambda config: config.pop("provider"), "provider"),
        (lambda config: config["provider"].update(project_id=None), "provider.project_id is not set"),
        (lambda config: config["file_mounts"].update({"~/x": "no_such_folder"}), "no_such_folder"),
        (lambda config: config["provider"].update(availability_zon="x"), "is availability_zone meant?"),
        (lambda config: of_cpu(config).update(machinTyp="n1"), "available_node_types.cpu.node_config.machinTyp is unk"),
        (lambda config: of_cpu(config)["disks"][0].update(boot="yes"), "cpu.node_config.disks.boot is no boolean"),
        (lambda config: of_cpu(config)["disks"][0].update(mode="READ"), "disks.mode: READ is none of READ_ONLY"),
    ],
)
def test_what_ray_or_the_cloud_would_refuse_later_is_told_now(tmp_path: Path, change: Any, said: str) -> None:
    assert said in refused(written(tmp_path, _GCP, change))


def test_what_amazon_does_not_know_is_told(tmp_path: Path) -> None:
    said = refused(written(tmp_path, _AWS, lambda config: of_cpu(config).update(InstanceTyp="m5.xlarge")))
    assert "available_node_types.cpu.node_config: Unknown parameter in input" in said and "InstanceTyp" in said

    def allow(config: Any) -> None:
        of_cpu(config).update(SubnetIds=["subnet-1"])
        config["provider"].update(use_external_head_ip=True)

    allowed = written(tmp_path, _AWS, allow)
    read_cluster_file(allowed, announce=pytest.fail)


def test_where_nothing_describes_the_clouds_it_is_said_that_their_machines_are_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said: list[str] = []
    path = written(tmp_path, _GCP, lambda config: of_cpu(config).update(machinTyp="n1"))
    read_cluster_file(path, announce=said.append)
    assert len(said) == 1 and "the fields of node_config are not checked" in said[0] and "[gcp]" in said[0]


def test_the_addresses_of_the_example_are_not_tried(tmp_path: Path) -> None:
    assert "192.0.2.10 is an example's address" in refused(written(tmp_path, _ON_PREM))


def test_a_missing_token_is_told_with_the_line_that_makes_it(tmp_path: Path) -> None:
    (tmp_path / "home" / ".ray" / "auth_token").unlink()
    assert "ray get-auth-token --generate" in refused(written(tmp_path, _GCP))


def test_a_token_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    file, lines = written(tmp_path, _GCP), list[str]()
    token = tmp_path / "home" / ".ray" / "auth_token"
    for mode, warned in ((0o600, False), (0o644, True)):
        token.chmod(mode)
        lines.clear()
        read_cluster_file(file, announce=lines.append)
        assert any("chmod 600 ~/.ray/auth_token" in line for line in lines) == warned, lines


def test_nodes_that_want_a_token_and_get_none_are_told(tmp_path: Path) -> None:
    file = written(tmp_path, _GCP, lambda config: config["file_mounts"].pop("~/.ray/auth_token"))
    assert "file_mounts gives them none" in refused(file)


def test_a_missing_key_for_ssh_is_told(tmp_path: Path, sshd: str) -> None:
    (tmp_path / "home" / ".ssh" / "estimators").unlink()
    assert "auth.ssh_private_key" in refused(on_prem(tmp_path, sshd))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cluster_name: [", "line 1"),
        ("", "provider"),
        ("- 1", "provider"),
        ((_ROOT / "launch/clusters/kuberay.yaml").read_text(), "KubeRay"),
    ],
)
def test_what_is_no_cluster_file_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert said in refused(str(path))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "No such file" in refused(f"{tmp_path}/none.yaml")
    assert "Is a directory" in refused(str(tmp_path))


def test_a_cluster_without_the_token_is_warned_of(tmp_path: Path) -> None:
    def open_all_doors(config: dict[str, Any]) -> None:
        config["head_start_ray_commands"] = ["ray start --head"]

    lines: list[str] = []
    read_cluster_file(written(tmp_path, _GCP, open_all_doors), announce=lines.append)
    assert len(lines) == 1 and "head_start_ray_commands" in lines[0] and "RAY_AUTH_MODE=token" in lines[0]
