"""Predictions come in any order; the submission is in the order of the files, complete and without duplicates."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest

from cvd_cluster.prediction.shards import Shard
from cvd_cluster.prediction.submission_merge import Prediction, SubmissionMerge
from estimators.errors import DataError, InfrastructureError
from estimators.submission.prediction_columns import CsvForm

SHARDS = [Shard("/data/a", 3, 30), Shard("/data/empty", 0, 0), Shard("/data/b", 2, 20)]
IDS = {(0, 0): "5.jpg", (0, 1): "3.jpg", (0, 2): "4.jpg", (2, 0): "1.jpg", (2, 1): "2.jpg"}
WHOLE = b"Id,Category\n5.jpg,0\n3.jpg,1\n4.jpg,0\n1.jpg,0\n2.jpg,1\n"


def _prediction(shard: int, row: int, image_id: str | None = None, error: str | None = None) -> Prediction:
    image_id = IDS[shard, row] if image_id is None else image_id
    return Prediction(shard, row, image_id, [row % 2, 1 - row % 2], [0.9, 0.1], error)


def _all() -> list[Prediction]:
    return [_prediction(*place) for place in IDS]


def _merge() -> tuple[SubmissionMerge, io.BytesIO]:
    file, form = io.BytesIO(), CsvForm("category")

    def write(shard: int, table: Any) -> None:
        assert table.num_rows <= SHARDS[shard].records
        file.write(form.lines(table))

    return SubmissionMerge(SHARDS, write), file


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_in_the_order_of_files_and_records_whatever_order_they_come_in(seed):
    merge, file = _merge()
    predictions = _all()
    random.Random(seed).shuffle(predictions)
    for prediction in predictions:
        merge.add([prediction])
    merge.finish()
    assert file.getvalue() == WHOLE


def test_a_row_is_written_as_soon_as_all_before_it_are_there():
    merge, file = _merge()
    merge.add([_prediction(2, 0), _prediction(0, 0)])
    assert file.getvalue() == b"Id,Category\n5.jpg,0\n"


def test_missing_rows_are_counted_and_the_first_is_named():
    merge, _ = _merge()
    merge.add([_prediction(0, 0), _prediction(0, 1), _prediction(2, 1)])
    with pytest.raises(InfrastructureError, match="2 have no prediction, the first of them is record 2 of /data/a"):
        merge.finish()


def test_a_missing_last_row_is_named_too():
    merge, _ = _merge()
    merge.add(_all()[:-1])
    with pytest.raises(InfrastructureError, match="record 1 of /data/b"):
        merge.finish()


@pytest.mark.parametrize("order", [1, -1])
def test_an_id_that_comes_twice_is_refused_with_both_places_in_the_order_of_the_files(order):
    merge, _ = _merge()
    with pytest.raises(DataError, match="same id") as caught:
        merge.add([_prediction(0, 1), _prediction(2, 0, image_id="3.jpg")][::order])
    assert "'3.jpg' is the id of record 1 of /data/a and of record 0 of /data/b" in caught.value.found


def test_a_record_without_an_id_is_refused():
    merge, _ = _merge()
    with pytest.raises(DataError, match="record 2 of /data/a: it has no id"):
        merge.add([_prediction(0, 2, image_id="")])


def test_a_record_that_could_not_be_predicted_is_named_with_the_reason():
    merge, _ = _merge()
    with pytest.raises(DataError, match=r"record 0 of /data/b \(1.jpg\): Invalid JPEG data"):
        merge.add([_prediction(2, 0, error="Invalid JPEG data")])


@pytest.mark.parametrize("early", [True, False])
def test_a_prediction_that_comes_twice_is_no_silent_overwrite(early):
    merge, _ = _merge()
    again = _prediction(2, 1) if early else _prediction(0, 0)
    merge.add([again])
    with pytest.raises(InfrastructureError, match="twice"):
        merge.add([again])


def test_a_row_beyond_the_end_of_its_file_is_refused():
    merge, _ = _merge()
    with pytest.raises(InfrastructureError, match="not there"):
        merge.add([Prediction(0, 3, "9.jpg", [0], [1.0], None)])
