"""What predictions depend on, so that a run that goes on uses nothing that was made with something else."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from cvd_cluster.prediction import preparation
from cvd_cluster.prediction.files_beside import parts_path
from cvd_cluster.prediction.prediction_options import PredictionOptions
from cvd_cluster.prediction.preparation import Prepared, prepare
from estimators.errors import DataError, HarnessError, UserError
from estimators.export.model_choice import ChosenModel
from tests.estimators.drawn_records import write_file

OPTIONS = PredictionOptions(input_data_pattern="/data/*", output_file="/tmp/out.csv", model_dir="/m")
PREPARED = Prepared(ChosenModel("/m", 1, None), "digest", ())


def _options(folder: Path, pattern: str, output: str = "out.csv") -> PredictionOptions:
    """For a model that looks like one."""
    export = folder / "export"
    export.mkdir()
    (export / "saved_model.pb").write_bytes(b"")
    return dataclasses.replace(
        OPTIONS, input_data_pattern=pattern, model_dir=str(export), output_file=str(folder / output)
    )


def _quarantine_everything(options: PredictionOptions) -> PredictionOptions:
    return dataclasses.replace(options, on_bad_record="quarantine")


def test_a_folder_among_the_input_files_is_told_but_for_the_runs_own(tmp_path: Path) -> None:
    write_file(tmp_path / "test-0", [b"x" * 90])
    options = _quarantine_everything(_options(tmp_path, f"{tmp_path}/*-*,{tmp_path}/test*", "test-out.csv"))
    Path(parts_path(options.output)).mkdir()
    assert len(prepare(options, print).files) == 1
    (tmp_path / "link").symlink_to(tmp_path)
    linked = dataclasses.replace(options, input_data_pattern=f"{tmp_path}/link/test-*")
    assert len(prepare(linked, print).files) == 1
    (tmp_path / "test-more").mkdir()
    with pytest.raises(UserError, match="matches a folder") as caught:
        prepare(options, print)
    assert f"{tmp_path}/test-more" in caught.value.found


def test_a_packed_file_of_nothing_holds_no_record_as_an_empty_one(tmp_path: Path) -> None:
    for name, content in (("a", b""), ("b.gz", gzip.compress(b"")), ("c.gz", gzip.compress(b""))):
        (tmp_path / name).write_bytes(content)
    options = _quarantine_everything(_options(tmp_path, f"{tmp_path}/?,{tmp_path}/*.gz"))
    with pytest.raises(DataError, match="hold no record"):
        prepare(options, print)
    (tmp_path / "c.gz").write_bytes(gzip.compress(b"")[:-3])  # damage is to be listed
    assert len(prepare(options, print).files) == 3


@pytest.mark.parametrize(
    ("name", "content", "ours"),
    [
        ("out.csv.json", '{"of": "mine"}', False),
        ("out.csv.json", "not JSON", False),
        ("out.csv.json", '{"output": "out.csv", "rows": 1, "sha256": "", "more": 1}', True),
        ("out.csv.quarantine.csv", "Id,Category\n1,0\n", False),
        ("out.csv.quarantine.csv", "file,row,offset,bytes,id,reason\nx,0,0,1,,bad\n", True),
    ],
)
def test_what_lies_where_a_run_writes_beside_its_output_is_not_lost(
    tmp_path: Path, name: str, content: str, ours: bool
) -> None:
    options = _quarantine_everything(_options(tmp_path, write_file(tmp_path / "shard", [b"x" * 90])))
    (tmp_path / name).write_text(content)
    with contextlib.nullcontext() if ours else pytest.raises(UserError, match="something else lies"):
        prepare(options, print)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="something else lies"):
        prepare(options, print)


@pytest.mark.parametrize(("number", "code"), [(errno.EIO, 3), (errno.ESTALE, 2), (errno.EACCES, 2)])
def test_a_file_that_cannot_be_read_at_its_first_record_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    path = write_file(tmp_path / "shard", [b"x" * 90])

    def fail(*arguments: object, **more: object) -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(preparation, "check_first_record", fail)
    options = _options(tmp_path, path)
    with pytest.raises(HarnessError) as caught:
        prepare(options, print)
    assert caught.value.exit_code == code and os.strerror(number) in str(caught.value)


def test_a_train_dir_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/run/export")

    monkeypatch.setattr(preparation, "newest_model", refuse)
    options = dataclasses.replace(OPTIONS, model_dir=None, train_dir=str(tmp_path))
    with pytest.raises(UserError, match="The model cannot be read") as caught:
        prepare(options, print)
    assert caught.value.found == "/run/export: Permission denied"


def test_a_file_that_is_damaged_from_its_beginning_is_told_with_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "shard").write_bytes(b"no record at all")
    with pytest.raises(DataError, match="damaged, or is no TFRecord file") as caught:
        prepare(_options(tmp_path, f"{tmp_path}/shard"), print)
    assert "--on_bad_record=quarantine" in caught.value.change


@pytest.mark.parametrize("value", [{"batch_size": 7}, {"max_image_pixels": 9}, {"gpus_per_worker": 1}])
def test_predictions_depend_on_options(value: dict[str, Any]) -> None:
    assert PREPARED.made_with(dataclasses.replace(OPTIONS, **value)) != PREPARED.made_with(OPTIONS)


@pytest.mark.parametrize("value", [{"max_worker_count": 7}, {"num_readers": 9}, {"output_file": "/tmp/other.csv"}])
def test_and_not_on_how_many_work_at_them(value: dict[str, Any]) -> None:
    assert PREPARED.made_with(dataclasses.replace(OPTIONS, **value)) == PREPARED.made_with(OPTIONS)


def test_predictions_depend_on_the_model_and_on_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [PREPARED.made_with(OPTIONS), dataclasses.replace(PREPARED, model_digest="other").made_with(OPTIONS)]
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    made.append(PREPARED.made_with(OPTIONS))
    monkeypatch.setattr(preparation, "tensorflow_version", lambda: "3.0")
    made.append(PREPARED.made_with(OPTIONS))
    assert all(one not in made[:index] for index, one in enumerate(made))
