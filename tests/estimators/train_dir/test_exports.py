"""Which SavedModel a command takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from estimators.errors import UserError
from estimators.train_dir.exports import check_export, exported_steps, newest_export


def _export(train_dir: Path, *names: str) -> str:
    for name in names:
        (train_dir / "export" / name).mkdir(parents=True)
        (train_dir / "export" / name / "saved_model.pb").write_bytes(b"")
    return str(train_dir)


def test_the_newest_step_is_taken_by_number_not_by_name(tmp_path):
    train_dir = _export(tmp_path, "step_9", "step_100", "step_20")
    assert exported_steps(train_dir) == [9, 20, 100]
    assert newest_export(train_dir) == str(tmp_path / "export" / "step_100")


def test_an_unfinished_export_is_not_seen(tmp_path):
    train_dir = _export(tmp_path, "step_9", ".step_20.7.partial", "step_x", "step_30_old")
    assert newest_export(train_dir).endswith("step_9")


def test_a_run_without_an_export_is_told_to_train_first(tmp_path):
    with pytest.raises(UserError, match="No exported model") as caught:
        newest_export(str(tmp_path))
    assert "train first" in str(caught.value) and "--train_dir" in str(caught.value)


def test_a_train_dir_that_does_not_exist_is_said_to_be_missing(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        newest_export(str(tmp_path / "nowhere"))


def test_a_folder_without_a_saved_model_is_refused(tmp_path):
    assert check_export(_export(tmp_path, "step_1") + "/export/step_1").endswith("step_1")
    with pytest.raises(UserError, match="No SavedModel in --model_dir"):
        check_export(str(tmp_path))
