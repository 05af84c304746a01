"""Records that lie where Arrow reads and TensorFlow does not: in an S3, which moto serves here."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from estimators import storage
from estimators.errors import InfrastructureError, UserError
from estimators.storage.access import check_access
from tests.integration.commands import run_command
from tests.integration.served_model import main as save_model
from tests.integration.shards import good_records, write_shard

NAMES = ("a-1", "a 2", "50%", ".hidden", "train/train-0", "train/train-1", "train/deep/x-1", "größe")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def environment(address: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What Arrow finds the store by, and boto3; set in this process too."""
    found = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def client(environment: dict[str, str]) -> Any:
    import boto3

    return boto3.client("s3")


@pytest.fixture
def store(client: Any) -> str:
    """`s3://<a new bucket>`, empty."""
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=name)
    return f"s3://{name}"


def put(client: Any, path: str, content: bytes) -> None:
    bucket, _, name = path.removeprefix("s3://").partition("/")
    client.put_object(Bucket=bucket, Key=name, Body=content)


@pytest.fixture
def filled(store: str, client: Any) -> str:
    for name in NAMES:
        put(client, f"{store}/folder/{name}", name.encode())
    return f"{store}/folder"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a*", ["a 2", "a-1"]),
        ("*", ["50%", "a 2", "a-1", "größe"]),
        ("a-1", ["a-1"]),
        ("missing", []),
        ("missing/*", []),
        ("train", []),
        ("tr*/train-?", ["train/train-0", "train/train-1"]),
        ("train/*/x-[0-9]", ["train/deep/x-1"]),
        (".h*", [".hidden"]),
    ],
)
def test_patterns_find_what_they_find_on_a_disk(filled: str, tmp_path: Path, pattern: str, found: list[str]) -> None:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [path.removeprefix(f"{tmp_path}/") for path in storage.glob(f"{tmp_path}/{pattern}")] == found
    assert storage.glob(f"{filled}/{pattern}") == [f"{filled}/{name}" for name in found]


def test_what_lies_there_is_known_and_read(filled: str, client: Any) -> None:
    path = f"{filled}/a 2"
    assert storage.exists(path) and not storage.is_dir(path) and storage.size(path) == 3
    assert storage.is_dir(f"{filled}/train/") and storage.exists(f"{filled}/train")
    assert not storage.exists(f"{filled}/none") and not storage.is_dir(f"{filled}/none")
    assert storage.list_dir(filled) == [".hidden", "50%", "a 2", "a-1", "größe", "train"]
    assert storage.list_dir(f"{filled}/none") == []
    assert storage.read_text(f"{filled}/größe") == "größe" and storage.modified_ns(path) > 1e18
    before = storage.identity(path)
    put(client, path, b"another")
    assert storage.identity(path) != before
    with storage.open_binary(path) as file:
        assert (file.read(2), file.tell(), file.seek(4), file.read(), file.read(1)) == (b"an", 2, 4, b"her", b"")
    for missing in (f"{filled}/none", "s3://no-such-bucket-anywhere/x"):
        with pytest.raises(FileNotFoundError):
            storage.open_binary(missing)


def test_nothing_is_written_there(store: str) -> None:
    with pytest.raises(OSError, match="only local paths and gs://"):
        storage.write_text(f"{store}/x", "x")


def test_a_store_that_cannot_be_used_is_told(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_access(read_here={"input_data_pattern": f"{store}/test/*,gone"})
    with pytest.raises(UserError, match="The bucket of --input_data_pattern does not exist"):
        check_access(read_here={"input_data_pattern": "s3://no-such-bucket-here/test/*"})
    with pytest.raises(UserError, match="cannot be reached") as caught:
        check_access(read_here={"input_data_pattern": "ftp://host/test/*"})
    assert "s3://" in caught.value.change
    with pytest.raises(UserError, match="cannot be reached") as caught:
        check_access(read={"train_data_pattern": f"{store}/train/*"})
    assert "s3://" not in caught.value.change, "TensorFlow reads it"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InfrastructureError, match="cannot be reached"):
        check_access(read_here={"input_data_pattern": "s3://another-bucket/test/*"})


def test_records_there_are_predicted_as_those_on_a_disk(
    store: str, client: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    save_model(str(tmp_path / "model"))
    for shard in range(2):
        local = write_shard(tmp_path / "test" / f"test-{shard}", good_records(40)[shard::2])
        put(client, f"{store}/data/test-{shard}", local.read_bytes())
    outputs = [tmp_path / "here.csv", tmp_path / "there.csv"]
    for output, pattern in zip(outputs, (f"{tmp_path}/test/*", f"{store}/data/test-*"), strict=True):
        flags = (f"--model_dir={tmp_path}/model", f"--input_data_pattern={pattern}", f"--output_file={output}")
        done = run_command("launch.inference", *flags, env=environment)
        assert done.code == 0, done.output
        assert done.left_behind() == []
    assert outputs[0].read_bytes() == outputs[1].read_bytes() and outputs[0].read_bytes().count(b"\n") == 41
