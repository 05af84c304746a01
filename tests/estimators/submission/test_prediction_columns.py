"""Columns of predictions become lines, and no value loses a bit on the way."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pytest

from estimators.errors import DataError
from estimators.submission.prediction_columns import SCHEMA, CsvForm, json_lines
from estimators.submission_format import HEADER, submission_row

IDS = ["1.jpg", "a,b", 'q"q', "two\nlines", "cr\rhere", "ü 🐈.jpg", "back\\slash", "tab\t", "\u2028"]


def _table(ids, classes, numbers):
    columns = [pa.array(values, field.type) for values, field in zip((ids, classes, numbers), SCHEMA, strict=True)]
    return pa.table(columns, SCHEMA)


def _of_ids(ids=IDS):
    return _table(ids, [[i % 2, 1 - i % 2] for i in range(len(ids))], [[0.75, 0.25]] * len(ids))


def test_the_categories_are_the_rows_that_plain_python_writes():
    expected = HEADER + "".join(submission_row(one, i % 2) for i, one in enumerate(IDS))
    assert CsvForm("category").lines(_of_ids()) == expected.encode()


def test_a_part_of_a_table_and_a_table_of_parts_give_the_same_lines():
    whole = CsvForm("top_k").lines(_of_ids())
    form = CsvForm("top_k")
    assert b"".join(form.lines(_of_ids().slice(begin, 2)) for begin in range(0, 9, 2)) == whole
    assert CsvForm("top_k").lines(pa.concat_tables([_of_ids().slice(0, 4), _of_ids().slice(4)])) == whole
    assert b"".join(json_lines(_of_ids().slice(begin, 4)) for begin in (0, 4, 8)) == json_lines(_of_ids())


def test_the_header_comes_once_and_also_without_photos():
    form = CsvForm("category")
    assert form.lines(SCHEMA.empty_table()) == b""
    assert form.lines(_of_ids(["1"])) + form.lines(_of_ids(["2"])) == b"Id,Category\n1,0\n2,0\n"
    assert form.empty() == b"Id,Category\n" and json_lines(SCHEMA.empty_table()) == b""


def test_the_probability_of_two_classes_is_that_of_class_1():
    table = _table(["a", "b"], [[1, 0], [0, 1]], [[0.9, 0.1], [0.8, 0.2]])
    assert CsvForm("probability").lines(table) == b"Id,Category\na,0.9\nb,0.2\n"


def test_tables_of_more_classes_than_those_before_are_refused():
    form = CsvForm("probability")
    form.lines(_table(["a"], [[1, 0]], [[0.9, 0.1]]))
    with pytest.raises(DataError, match="Not every photo has a probability of every class"):
        form.lines(_table(["b"], [[2, 0, 1]], [[0.7, 0.2, 0.1]]))


def test_the_probabilities_of_more_classes_have_a_column_each():
    table = _table(["a", "b"], [[2, 0, 1], [0, 1, 2]], [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]])
    assert CsvForm("probability").lines(table) == b"Id,Category_0,Category_1,Category_2\na,0.2,0.1,0.7\nb,0.5,0.3,0.2\n"


@pytest.mark.parametrize("classes", [[[3, 1]], [[0]], [[1, 0], [2, 1, 0]]])
def test_a_probability_that_is_not_there_is_told(classes):
    table = _table(["a", "b"][: len(classes)], classes, [[0.1] * len(one) for one in classes])
    with pytest.raises(DataError, match="every class") as caught:
        CsvForm("probability").lines(table)
    assert "top_k" in caught.value.change


def test_top_k_holds_the_likeliest_pairs():
    table = _table(["a", "b"], [[2, 0, 1], [1]], [[0.7, 0.2, 0.1], [1.0]])
    assert CsvForm("top_k", 2).lines(table) == b"Id,Category\na,2:0.7 0:0.2\nb,1:1\n"


@pytest.mark.parametrize("form", ["probability", "top_k"])
def test_a_number_comes_back_with_all_its_bits(form):
    values = np.random.default_rng(0).random(500, np.float32) ** 8
    table = _table([str(i) for i in range(500)], [[1, 0]] * 500, [[value, 0.5] for value in values])
    rows = list(csv.reader(io.StringIO(CsvForm(form).lines(table).decode())))[1:]
    back = [row[1].partition(" ")[0].rpartition(":")[2] for row in rows]
    assert (np.array(back, np.float32) == values).all()


def test_json_lines_hold_every_id_and_number():
    lines = json_lines(_of_ids()).decode().split("\n")
    assert lines[0] == '{"image_id": "1.jpg", "class_indexes": [0, 1], "predictions": [0.75, 0.25]}'
    rows = [json.loads(line) for line in lines[:-1]]
    assert [row["image_id"] for row in rows] == IDS and rows[1]["class_indexes"] == [1, 0]
