"""What predictions depend on, so that a run that goes on uses nothing that was made with something else."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from cvd_cluster.prediction import preparation
from cvd_cluster.prediction.prediction_options import PredictionOptions
from cvd_cluster.prediction.preparation import Prepared, prepare
from estimators.errors import HarnessError
from estimators.export.model_choice import ChosenModel
from tests.estimators.drawn_records import write_file

OPTIONS = PredictionOptions(input_data_pattern="/data/*", output_file="/tmp/out.csv", model_dir="/m")
PREPARED = Prepared(ChosenModel("/m", 1, None), "digest", ())


@pytest.mark.parametrize(("number", "code"), [(errno.EIO, 3), (errno.ESTALE, 2), (errno.EACCES, 2)])
def test_a_file_that_cannot_be_read_at_its_first_record_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    path = write_file(tmp_path / "shard", [b"x" * 90])

    def fail(*arguments: object, **more: object) -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(preparation, "check_first_record", fail)
    export = tmp_path / "export"
    export.mkdir()
    (export / "saved_model.pb").write_bytes(b"")
    options = dataclasses.replace(OPTIONS, input_data_pattern=path, model_dir=str(export))
    with pytest.raises(HarnessError) as caught:
        prepare(options, print)
    assert caught.value.exit_code == code and os.strerror(number) in str(caught.value)


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
