"""One predictor: the class of a Ray actor that holds a SavedModel and turns pieces of files into parts.

Its process is ready soon because it imports neither Ray Data nor all of TensorFlow.
"""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cvd_cluster.prediction.batch_model import Answers, BatchModel
from cvd_cluster.prediction.part_columns import part_of, to_bytes
from cvd_cluster.prediction.piece_columns import OFFSETS, REPORT, SIZES, PieceReport, data_of
from estimators.errors import UserError
from estimators.processes.kept_memory import keep_freed_memory
from estimators.records.picture_size import picture_error
from estimators.records.record_schema import parse_example
from estimators.records.tfrecord_framing import FOOTER_BYTES, HEADER_BYTES
from estimators.train_dir.exports import digest_of

CRASHED = "it crashed the predictor"


@dataclass(frozen=True)
class PredictorSettings:
    """What a predictor is to do.

    Attributes:
      model_dir: the SavedModel.
      model_digest: exports.digest_of it, where the command sees it.
      batch_size: records that go through the model at a time.
      threads: how many of them TensorFlow may decode and compute at the same time.
      max_image_pixels: a picture that claims more is not decoded.
      on_gpu: whether it has GPUs.
    """

    model_dir: str
    model_digest: str
    batch_size: int
    threads: int
    max_image_pixels: int
    on_gpu: bool = False


@dataclass(frozen=True)
class RecordPlace:
    """Where a record is in a block.

    Attributes:
      row: of the block, a piece.
      index: among the whole records of the piece.
    """

    row: int
    index: int


class Predictor:
    """Holds the model, which is loaded once, when it is first needed. Its methods may be called by several threads."""

    def __init__(self, settings: PredictorSettings) -> None:
        self._settings = settings
        self._model: BatchModel | None = None
        self._loading = threading.Lock()
        self._under_way, self._counting = 0, threading.Lock()
        # Batches at a time: one more than TensorFlow has threads for, so that none of them waits for Python.
        self._threads = ThreadPoolExecutor(settings.threads + 1)
        keep_freed_memory()

    def load(self) -> None:
        """Loads TensorFlow and the model.

        Raises:
          UserError: it is another one than where the command runs, or see BatchModel.
        """
        self._loaded()

    def predict(self, block: pa.Table, crashing: Collection[RecordPlace] = ()) -> list[bytes]:
        """Predicts all pieces of a block.

        Args:
          block: a table of piece_columns.SCHEMA.
          crashing: records that are known to crash the process; they are left out.

        Returns:
          A part for each piece, as part_columns.to_bytes makes it; a record that fails has its error there, and does
          not harm the others.

        Raises:
          UserError: see BatchModel.
        """
        pieces = [_Piece(block, row) for row in range(block.num_rows)]
        parts = [
            to_bytes(self._part(piece, {place.index for place in crashing if place.row == row}))
            for row, piece in enumerate(pieces)
        ]
        self._count(-sum(map(len, pieces)))
        return parts

    def under_way(self) -> int:
        """Records that are predicted in blocks that are not finished. To be called while it predicts."""
        return self._under_way

    def attempt(self, block: pa.Table, row: int, begin: int, end: int) -> int:
        """Predicts some records of a piece, for nothing but to see whether this process lives on.

        Args:
          block: see `predict`.
          row: of the block, the piece.
          begin: the first record; all are to be in one batch.
          end: the one after the last; `begin` to try no record.

        Returns:
          How many of them the model answered; the others hold no picture that it was given.
        """
        piece, size = _Piece(block, row), self._settings.batch_size
        batch: list[bytes | None] = [None] * (begin % size)
        for index in range(begin, end):
            record = piece.record(index)
            batch.append(None if picture_error(record, self._settings.max_image_pixels) else record)
        answer = self._loaded().answer(batch)
        return sum(record is not None and not error for record, error in zip(batch, answer.errors, strict=True))

    def _loaded(self) -> BatchModel:
        with self._loading:
            if self._model is None:
                settings = self._settings
                if digest_of(settings.model_dir) != settings.model_digest:
                    raise _another_model(settings.model_dir)
                self._model = BatchModel(
                    settings.model_dir, settings.batch_size, settings.threads, on_gpu=settings.on_gpu
                )
                # Ray collects garbage every few seconds; TensorFlow's modules, which stay, took it half a second.
                gc.collect()
                gc.freeze()
            return self._model

    def _part(self, piece: _Piece, crashing: Collection[int]) -> pa.Table:
        model = self._loaded()
        batches = [
            range(begin, min(begin + model.batch_size, len(piece))) for begin in range(0, len(piece), model.batch_size)
        ]
        answers = list(self._threads.map(lambda indexes: self._answer(model, piece, indexes, crashing), batches))
        if not answers:
            answers = [Answers([], np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32), [])]
        return part_of(
            piece.report,
            piece.offsets,
            piece.sizes + HEADER_BYTES + FOOTER_BYTES,
            [one for answer in answers for one in answer.ids],
            np.concatenate([answer.classes for answer in answers]),
            np.concatenate([answer.probabilities for answer in answers]),
            [one for answer in answers for one in answer.errors],
        )

    def _count(self, records: int) -> None:
        with self._counting:
            self._under_way += records

    def _answer(self, model: BatchModel, piece: _Piece, indexes: range, crashing: Collection[int]) -> Answers:
        records = [piece.record(index) for index in indexes]
        known = {
            place: CRASHED if index in crashing else reason
            for place, index in enumerate(indexes)
            if (reason := picture_error(records[place], self._settings.max_image_pixels)) or index in crashing
        }
        answer = model.answer([None if place in known else record for place, record in enumerate(records)])
        for place in range(len(records)):
            answer.errors[place] = known.get(place, answer.errors[place])
            if answer.errors[place]:
                answer.ids[place] = _id_of(records[place])
        self._count(len(records))
        return answer


class _Piece:
    """One row of a block."""

    def __init__(self, block: pa.Table, row: int) -> None:
        self.report = PieceReport.from_json(block[REPORT][row].as_py())
        self.offsets, self.sizes = (block[name][row].values.to_numpy() for name in (OFFSETS, SIZES))
        self._data = data_of(block, row)

    def __len__(self) -> int:
        return len(self.offsets)

    def record(self, index: int) -> bytes:
        begin = self.offsets[index] + HEADER_BYTES - self.report.base
        return bytes(self._data[begin : begin + self.sizes[index]])


def _another_model(model_dir: str) -> UserError:
    return UserError(
        f"{socket.gethostname()} has another model than this machine",
        asked=f"the model in {model_dir}",
        found="other files there, or with other bytes",
        change="a path that is the same folder on every node, and let nobody write to it",
    )


def _id_of(record: bytes) -> bytes:
    try:
        return parse_example(record).image_id or b""
    except ValueError:
        return b""
