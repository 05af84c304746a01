from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from estimators.errors import DataError, InfrastructureError
from estimators.storage_trouble import storage_trouble_told
from tests.estimators.made_checkpoints import write_checkpoint


def told(train_dir: Path, error: Exception) -> InfrastructureError:
    with pytest.raises(InfrastructureError) as caught, storage_trouble_told(str(train_dir)):
        raise error
    assert f"--train_dir={train_dir}" in caught.value.asked
    return caught.value


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EDQUOT, "is full"),
        (errno.EFBIG, "is full"),
        (errno.EROFS, "cannot be written"),
        (errno.EACCES, "cannot be written"),
        (errno.EIO, "cannot be written"),
    ],
)
def test_what_the_system_says_is_told_with_the_path(tmp_path: Path, number: int, what: str) -> None:
    error = told(tmp_path, OSError(number, os.strerror(number), f"{tmp_path}/run_state.json"))
    assert what in error.summary and "--train_dir" in error.summary
    assert f"{tmp_path}/run_state.json: {os.strerror(number)}" in error.found and "KiB are free" in error.found
    assert "without --start_new_model" in error.change


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_an_error_of_tensorflow_is_told_alike(tmp_path: Path, number: int) -> None:
    import tensorflow as tf

    text = f"Graph execution error:\n\nNode: 'save/SaveV2'\n{tmp_path}/model.ckpt-5.index; {os.strerror(number)}\n\t [["
    error = told(tmp_path, tf.errors.ResourceExhaustedError(None, None, text))
    assert f"{tmp_path}/model.ckpt-5.index: {os.strerror(number)}" in error.found


def test_a_full_disk_elsewhere_is_not_taken_for_that_of_the_train_dir(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    error = told(tmp_path / "run", OSError(errno.ENOSPC, "full", str(tmp_path / "cache")))
    assert error.summary.startswith("A disk that this run needs is full") and f"{tmp_path}/cache" in error.found


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for error in (FileNotFoundError(errno.ENOENT, "no", f"{gone}/x"), ValueError("Parent directory doesn't exist")):
        assert "--train_dir is gone" in told(gone, error).summary


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no", "/data/train-0"),
        ValueError("bad shape"),
        DataError("A record is damaged"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_pass(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, storage_trouble_told(str(tmp_path)):
        raise error
    assert caught.value is error


def test_room_that_is_half_written_is_given_back_on_a_full_disk_only(tmp_path: Path) -> None:
    called: list[int] = []
    for number in (errno.EROFS, errno.ENOSPC):
        with (
            pytest.raises(InfrastructureError),
            storage_trouble_told(str(tmp_path), when_full=lambda: called.append(1)),
        ):
            raise OSError(number, "", str(tmp_path))
    assert called == [1]


def test_what_a_failed_save_left_is_deleted_and_no_complete_checkpoint(tmp_path: Path) -> None:
    from estimators.checkpoints.checkpoint_files import delete_half_saved

    for step in (5, 10):
        write_checkpoint(tmp_path, step)
    write_checkpoint(tmp_path, 15, index=b"half")
    (tmp_path / "model.ckpt-20_temp").mkdir()
    (tmp_path / "checkpoint.tmp0123").touch()
    (tmp_path / "notes.txt").touch()
    delete_half_saved(str(tmp_path))
    left = sorted(path.name for path in tmp_path.iterdir())
    ends = ("data-00000-of-00001", "index", "meta")
    assert left == sorted([f"model.ckpt-{step}.{end}" for step in (5, 10) for end in ends] + ["notes.txt"])
