"""Predictions in columns -> the bytes of a submission, in each of its forms; whole columns at a time, by Arrow.

A number is written with the fewest digits that lead back to the same float32, so that a submission made from JSON lines
has the bytes of one made directly.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from estimators.errors import DataError
from estimators.submission_format import CATEGORY, HEADER, PROBABILITY, TOP_K, csv_header
from estimators.train_dir.exports import MOST_CLASSES

IMAGE_ID, CLASS_INDEXES, PREDICTIONS = "image_id", "class_indexes", "predictions"
# Of each photo, the likeliest class first.
SCHEMA = pa.schema(
    [(IMAGE_ID, pa.string()), (CLASS_INDEXES, pa.list_(pa.int32())), (PREDICTIONS, pa.list_(pa.float32()))]
)
_PLAIN_JSON = r"^[ !#-\[\]-~]*$"  # printable ASCII without quote and backslash


class CsvForm:
    """Turns tables of predictions into lines of a CSV; the header comes with the first.

    Args:
      output_format: category, probability or top_k.
      top_k: how many pairs a line has at the most, for top_k.
    """

    def __init__(self, output_format: str, top_k: int = 20) -> None:
        self._format, self._top_k = output_format, top_k
        self._classes: int | None = None

    def lines(self, table: pa.Table) -> bytes:
        """The lines of some photos.

        Args:
          table: of SCHEMA.

        Raises:
          DataError: the probability of every class is asked for, and a photo does not have it.
        """
        if not table.num_rows:
            return b""
        columns = {CATEGORY: self._category, PROBABILITY: self._probabilities, TOP_K: self._pairs}[self._format](table)
        header = b""
        if self._classes is None:
            self._classes = len(columns)
            header = csv_header(self._classes).encode("utf-8")
        parts = [_quoted(_combined(table[IMAGE_ID])), *columns]
        joined = pc.binary_join_element_wise(*parts, ",")
        return header + text_of(pc.binary_join_element_wise(joined, "\n", ""))

    def empty(self) -> bytes:
        """The whole CSV where there is no photo."""
        return HEADER.encode("utf-8")

    def _category(self, table: pa.Table) -> list[Any]:
        return [pc.cast(pc.list_element(_combined(table[CLASS_INDEXES]), 0), pa.string())]

    def _pairs(self, table: pa.Table) -> list[Any]:
        classes, numbers = _combined(table[CLASS_INDEXES]), _combined(table[PREDICTIONS])
        classes, numbers = (pc.list_slice(column, 0, self._top_k) for column in (classes, numbers))
        pairs = pc.binary_join_element_wise(
            pc.cast(pc.list_flatten(classes), pa.string()), pc.cast(pc.list_flatten(numbers), pa.string()), ":"
        )
        return [pc.binary_join(pa.ListArray.from_arrays(_offsets(classes), pairs), " ")]

    def _probabilities(self, table: pa.Table) -> list[Any]:
        matrix = _by_class(table, self._classes)
        columns = matrix[:, 1:2] if matrix.shape[1] == 2 else matrix
        return [pc.cast(pa.array(column), pa.string()) for column in columns.T]


def json_lines(table: pa.Table) -> bytes:
    """A JSON object a line, with the keys image_id, class_indexes and predictions.

    Args:
      table: of SCHEMA.
    """
    if not table.num_rows:
        return b""
    fields = [_json_strings(_combined(table[IMAGE_ID]))]
    for name in (CLASS_INDEXES, PREDICTIONS):
        column = _combined(table[name])
        texts = pc.cast(pc.list_flatten(column), pa.string())
        fields.append(pc.binary_join(pa.ListArray.from_arrays(_offsets(column), texts), ", "))
    return text_of(
        pc.binary_join_element_wise(
            '{"image_id": ', fields[0], ', "class_indexes": [', fields[1], '], "predictions": [', fields[2], "]}\n", ""
        )
    )


def text_of(strings: Any) -> bytes:
    """All strings of an Arrow array, one behind the other."""
    if isinstance(strings, pa.ChunkedArray):
        return b"".join(map(text_of, strings.chunks))
    width = np.int64 if pa.types.is_large_string(strings.type) else np.int32
    _, offsets, data = strings.buffers()
    if data is None:
        return b""
    ends = np.frombuffer(offsets, width)
    return memoryview(data)[ends[strings.offset] : ends[strings.offset + len(strings)]].tobytes()


def _combined(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _offsets(lists: Any) -> Any:
    lengths = pc.list_value_length(lists).to_numpy()
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _quoted(texts: Any) -> Any:
    special = pc.match_substring_regex(texts, '[,"\r\n]')
    if not pc.any(special).as_py():
        return texts
    doubled = pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")
    return pc.if_else(special, doubled, texts)


def _json_strings(texts: Any) -> Any:
    if pc.all(pc.match_substring_regex(texts, _PLAIN_JSON)).as_py():
        return pc.binary_join_element_wise('"', texts, '"', "")
    return pa.array([json.dumps(text, ensure_ascii=False) for text in texts.to_pylist()], pa.string())


def _by_class(table: pa.Table, columns: int | None) -> npt.NDArray[np.float32]:
    """float32 [photos, classes], one column per class."""
    lists = _combined(table[CLASS_INDEXES])
    classes = pc.list_flatten(lists).to_numpy()
    count = len(classes) // table.num_rows
    known = {None: count, 1: 2}.get(columns, columns)  # of two classes one column is written
    even = (pc.list_value_length(lists).to_numpy() == count).all() and count == known and count > 1
    order = classes.reshape(-1, count) if even else classes
    if not even or not (np.sort(order, axis=1) == np.arange(count)).all():
        raise DataError(
            "Not every photo has a probability of every class",
            asked="--output_format=probability",
            found=f"{count} classes for most photos, and an export holds the {MOST_CLASSES} likeliest at the most",
            change="--output_format=top_k or --output_format=category",
        )
    matrix = np.empty(order.shape, np.float32)
    np.put_along_axis(matrix, order, pc.list_flatten(_combined(table[PREDICTIONS])).to_numpy().reshape(order.shape), 1)
    return matrix
