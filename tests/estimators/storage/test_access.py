"""Buckets that cannot be used are told in one message, soon, and before anything is written."""

from __future__ import annotations

import socket
from pathlib import Path

import google.auth
import pytest

from estimators import storage
from estimators.errors import InfrastructureError, UserError
from estimators.storage import bucket_client
from estimators.storage.access import check_access
from tests.buckets.emulator import Emulator
from tests.integration.commands import run_command


def name_of(bucket: str) -> str:
    return bucket.removeprefix("gs://")


def test_a_bucket_that_can_be_used_passes_and_nothing_stays_in_it(bucket: str, tmp_path: Path) -> None:
    storage.write_text(f"{bucket}/train/train-0", "x")
    check_access(
        read={"train_data_pattern": f"{bucket}/train/*,{bucket}/other/?", "warm_start_from": None},
        folders={"train_dir": f"{bucket}/run", "output_path": str(tmp_path / "local")},
    )
    assert storage.names_below(bucket) == ["train/", "train/train-0"]


def test_a_bucket_that_does_not_exist_is_named(bucket: str) -> None:
    with pytest.raises(UserError) as caught:
        check_access(read={"train_data_pattern": "gs://none-such/train/*"})
    assert caught.value.summary == "The bucket of --train_data_pattern does not exist"
    assert "no bucket none-such" in caught.value.found and "create gs://none-such" in caught.value.change


@pytest.mark.parametrize("name", ["<bucket>", "my-bucket-", "_x"])
def test_a_bucket_that_no_bucket_can_be_called_is_told(name: str) -> None:
    with pytest.raises(UserError, match="begins and ends with a letter or digit") as caught:
        check_access(folders={"train_dir": f"gs://{name}/run"})
    assert name in str(caught.value)


def test_a_bucket_whose_answer_to_the_trial_is_lost_is_there(emulator: Emulator, bucket: str) -> None:
    emulator.lost_deletes = 1
    check_access(folders={"train_dir": f"{bucket}/run"})
    assert emulator.lost_deletes == 0 and storage.names_below(bucket) == []


def test_a_bucket_that_refuses_to_be_read_is_told(emulator: Emulator, bucket: str) -> None:
    emulator.closed.add(name_of(bucket))
    with pytest.raises(UserError) as caught:
        check_access(read={"input_data_pattern": f"{bucket}/test/*"})
    assert caught.value.summary == "--input_data_pattern cannot be read"
    assert caught.value.asked == f"--input_data_pattern={bucket}/test/*"
    assert "permission denied" in caught.value.found


def test_a_bucket_that_may_be_read_and_not_be_written_is_told(emulator: Emulator, bucket: str) -> None:
    emulator.read_only.add(name_of(bucket))
    check_access(read={"train_data_pattern": f"{bucket}/*"})
    with pytest.raises(UserError) as caught:
        check_access(folders={"train_dir": f"{bucket}/run"})
    assert caught.value.summary == "--train_dir cannot be written"


def test_what_to_do_depends_on_whether_there_are_credentials(
    emulator: Emulator, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.closed.add(name_of(bucket))
    with pytest.raises(UserError, match="application-default login"):
        check_access(read={"train_dir": bucket})
    monkeypatch.setattr("estimators.storage.access.is_anonymous", lambda: False)
    monkeypatch.setattr(bucket_client, "is_anonymous", lambda: False)
    emulator.forget()
    emulator.read_only.add(name_of(bucket))
    with pytest.raises(UserError, match="the role Storage Object User") as caught:
        check_access(folders={"train_dir": bucket})
    assert "the caller does not have storage.objects access" in caught.value.found


def test_without_credentials_what_is_public_is_asked_for_as_anybody_may(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(**wanted: object) -> object:
        raise google.auth.exceptions.DefaultCredentialsError("none")

    monkeypatch.setattr(google.auth, "default", none)
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "")
    bucket_client._client_of.cache_clear()
    try:
        assert bucket_client.is_anonymous()
    finally:
        bucket_client._client_of.cache_clear()


def test_a_store_that_cannot_be_reached_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setattr("estimators.storage.access._LOOK_SECS", 1.0)
        with pytest.raises(InfrastructureError, match="--train_dir cannot be reached"):
            check_access(folders={"train_dir": "gs://bucket/run"})


@pytest.mark.parametrize("path", ["s3://bucket/run", "ram://run", "gs:///run"])
def test_another_scheme_or_no_bucket_is_a_mistake(path: str) -> None:
    with pytest.raises(UserError, match=r"local path|gs://bucket") as caught:
        check_access(folders={"train_dir": path})
    assert caught.value.asked == f"--train_dir={path}"


@pytest.mark.parametrize(
    ("module", "flags"),
    [
        ("launch.train", ["--train_data_pattern=gs://{bucket}/train/*", "--train_dir=gs://{closed}/run"]),
        ("launch.eval", ["--train_dir=gs://{closed}/run", "--eval_data_pattern=gs://{bucket}/validation/*"]),
        ("launch.status", ["--train_dir=gs://{closed}/run"]),
        (
            "launch.inference",
            [
                "--train_dir=gs://{bucket}/run",
                "--input_data_pattern=gs://{bucket}/test/*",
                "--output_file=gs://{closed}/out.csv",
            ],
        ),
        ("launch.prepare_data", ["--synthetic=10", "--output=gs://{closed}/set"]),
        ("launch.prepare_data", ["--input=gs://{closed}/photos.zip", "--output=gs://{bucket}/set"]),
        ("launch.prepare_data", ["--check=gs://{closed}/train/*"]),
        ("launch.prepare_data", ["--check=gs://{closed}/set"]),
    ],
)
def test_every_command_tells_it_in_one_message(emulator: Emulator, bucket: str, module: str, flags: list[str]) -> None:
    closed = f"closed-{name_of(bucket)}"
    emulator.make_bucket(closed)
    emulator.closed.add(closed)
    given = [flag.format(bucket=name_of(bucket), closed=closed) for flag in flags]
    done = run_command(module, *given, env=emulator.environment)
    assert done.code == 2, done.output
    assert done.lines[0].startswith("error: ") and "permission denied" in done.output, done.output
    assert f"gs://{closed}/" in done.output and "Traceback" not in done.output and len(done.lines) == 4
    emulator.forget()
    assert storage.list_dir(f"gs://{closed}") == []
