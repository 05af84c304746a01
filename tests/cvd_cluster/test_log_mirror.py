"""A train_dir in a bucket has the logs too."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cvd_cluster.roles.log_mirror import LogMirror, mirror_of
from estimators import storage


def wait_for(path: str, text: str) -> None:
    until = time.monotonic() + 60
    while not (storage.exists(path) and storage.read_text(path) == text):
        assert time.monotonic() < until, storage.read_text(path) if storage.exists(path) else "nothing is there"
        time.sleep(0.02)


@pytest.fixture
def remote(bucket: str) -> str:
    return f"{bucket}/run/logs/worker-0.log"


def test_a_log_is_copied_as_it_grows_and_at_the_end(tmp_path: Path, remote: str) -> None:
    log = tmp_path / "worker-0.log"
    log.write_text("")
    mirror = LogMirror(str(log), remote, every_secs=0.05)
    for text in ("one\n", "one\ntwo\n"):
        log.write_text(text)
        wait_for(remote, text)
    log.write_text("one\ntwo\nlast words\n")
    mirror.end()
    assert storage.read_text(remote) == "one\ntwo\nlast words\n"


def test_only_a_remote_train_dir_needs_copies_and_gets_them_into_its_logs(tmp_path: Path, remote: str) -> None:
    with (tmp_path / "worker-0.log").open("ab") as log:
        assert mirror_of(log, str(tmp_path)) is None
        mirror = mirror_of(log, remote.removesuffix("/logs/worker-0.log"))
        log.write(b"written")
    assert mirror is not None
    mirror.end()
    assert storage.read_text(remote) == "written"


def test_the_log_of_an_earlier_generation_is_continued(tmp_path: Path, remote: str) -> None:
    for generation in (1, 2):
        log = tmp_path / f"scratch-{generation}.log"
        log.write_text(f"generation {generation}\n")
        LogMirror(str(log), remote, every_secs=60).end()
    assert storage.read_text(remote) == "generation 1\ngeneration 2\n"


def test_a_storage_that_fails_for_a_while_is_tried_again(
    tmp_path: Path, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "worker-0.log"
    log.write_text("one\n")
    failures = iter([OSError("no network"), OSError("no network")])
    written_whole = storage.written_whole

    def sometimes(path: str) -> object:
        if (error := next(failures, None)) is not None:
            raise error
        return written_whole(path)

    monkeypatch.setattr(storage, "written_whole", sometimes)
    mirror = LogMirror(str(log), remote, every_secs=0.02)
    wait_for(remote, "one\n")
    mirror.end()
