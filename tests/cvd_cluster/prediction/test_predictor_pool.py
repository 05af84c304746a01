"""Predictors that die are replaced; a record that kills them is found and left out; a model that kills all is told.

With a real Ray and real processes, and without TensorFlow: what a predictor predicts is not the point here.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray

from cvd_cluster.prediction import predictor_pool
from cvd_cluster.prediction.input_files import look_at
from cvd_cluster.prediction.piece_columns import OFFSETS, REPORT, PieceReport, to_table
from cvd_cluster.prediction.piece_reader import read_piece
from cvd_cluster.prediction.predictor import RecordPlace
from cvd_cluster.prediction.predictor_pool import PredictorPool
from cvd_cluster.ray_session import ray_session
from estimators.errors import InfrastructureError, UserError
from estimators.records.record_bytes import PlainBytes
from tests.estimators.drawn_records import write_file

BATCH = 4


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    with ray_session(cpus_needed=4, announce=print):
        yield


class FakePredictor:
    """Dies of some records; answers with what it was not told to leave out."""

    def __init__(
        self,
        deadly: Collection[int],
        deaths_file: str = "",
        load_error: bool = False,
        killed_beside: str = "",
        seconds: float = 0.0,
    ) -> None:
        self._deadly, self._file, self._load_error = set(deadly), deaths_file, load_error
        self._killed_beside, self._seconds = killed_beside, seconds

    def load(self) -> None:
        if self._load_error:
            raise UserError("no model")

    def predict(self, block: pa.Table, crashing: Collection[RecordPlace] = ()) -> list[tuple[int, list[int]]]:
        if self._load_error:  # as the real one, which waits until it has loaded
            raise UserError("no model")
        answers = []
        time.sleep(self._seconds)
        for row in range(block.num_rows):
            left_out = {place.index for place in crashing if place.row == row}
            count = len(block[OFFSETS][row].as_py())
            answers.append((PieceReport.from_json(block[REPORT][row].as_py()).number, sorted(left_out)))
            self._die_of(set(range(count)) - left_out)
        return answers

    def under_way(self) -> int:
        return 3

    def attempt(self, block: pa.Table, row: int, begin: int, end: int) -> int:
        assert begin // BATCH == max(begin, end - 1) // BATCH, "all in one batch"
        self._die_of(set(range(begin, end)))
        if self._killed_beside and end - begin == 1 and not os.path.exists(self._killed_beside):
            with open(self._killed_beside, "w"):
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        return end - begin

    def _die_of(self, records: set[int]) -> None:
        # A death that another process has to die of too, or, with a file, one that happens once.
        if self._deadly & records and not (self._file and os.path.exists(self._file)):
            if self._file:
                with open(self._file, "w"):
                    pass
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def block(tmp_path: Path) -> Any:
    """Two pieces of 10 records."""
    path = write_file(tmp_path / "shard", [b"x" * 84] * 20)
    file = look_at(path, 1000)
    with open(path, "rb") as opened:
        source = PlainBytes(opened, file.size)
        return ray.put(pa.concat_tables([to_table(read_piece(source, file.piece(0, number))) for number in range(2)]))


def _pool(lines: list[str], *arguments: Any, predictors: int = 1, told: list[int] | None = None) -> PredictorPool:
    told = [] if told is None else told
    actor_class = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=3)(FakePredictor)
    return PredictorPool(lambda: actor_class.remote(*arguments), predictors, BATCH, lines.append, told.append)


def _answers(pool: PredictorPool, blocks: list[Any]) -> list[tuple[int, list[int]]]:
    try:
        return sorted(one for some in pool.predict(blocks) for one in some)
    finally:
        pool.end()


def test_every_block_is_predicted_once(block):
    assert _answers(_pool([], [], predictors=2), [block] * 3) == [(0, [])] * 3 + [(1, [])] * 3


class WhoPredictor(FakePredictor):
    """Answers with its process."""

    def predict(self, block: pa.Table, crashing: Collection[RecordPlace] = ()) -> list[int]:  # type: ignore[override]
        time.sleep(0.3)
        return [os.getpid()]


def test_the_pieces_of_one_file_go_to_all_predictors(block):
    actor_class = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=3)(WhoPredictor)
    pool = PredictorPool(lambda: actor_class.remote([]), 2, BATCH, print, lambda count: None)
    pieces = [ray.put(ray.get(block).slice(index, 1)) for index in (0, 1)]
    try:
        assert len({process for some in pool.predict(pieces * 6) for process in some}) == 2
    finally:
        pool.end()


@pytest.mark.parametrize("deadly", [[], [3]])
def test_a_predictor_that_finds_no_room_is_not_waited_for(block, monkeypatch, deadly):
    monkeypatch.setattr(predictor_pool, "_SECONDS_OF_SILENCE", 5.0)
    lines: list[str] = []
    whole = int(ray.cluster_resources()["CPU"])
    holder = ray.remote(num_cpus=whole - 1)(FakePredictor).remote([])  # another job's
    try:
        ray.get(holder.load.remote())
        assert _answers(_pool(lines, deadly, predictors=2), [block] * 2) == [(0, deadly)] * 2 + [(1, deadly)] * 2
    finally:
        ray.kill(holder)
    assert deadly or any(
        line.startswith("nothing was predicted for 5 seconds; 0 of Ray's CPUs are free") for line in lines
    )


class BusyPredictor(FakePredictor):
    """Answers with its process and with how many blocks it had at the same time."""

    busy = 0

    def predict(  # type: ignore[override]
        self, block: pa.Table, crashing: Collection[RecordPlace] = ()
    ) -> list[tuple[int, int]]:
        self.busy += 1
        time.sleep(1.0)
        answer = os.getpid(), self.busy
        time.sleep(0.2)
        self.busy -= 1
        return [answer]


@pytest.mark.slow
def test_a_predictor_whose_block_was_taken_back_works_with_all_its_places_when_it_finds_room(block, monkeypatch):
    monkeypatch.setattr(predictor_pool, "_SECONDS_OF_SILENCE", 5.0)
    lines: list[str] = []
    actor_class = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=3)(BusyPredictor)
    holder = ray.remote(num_cpus=int(ray.cluster_resources()["CPU"]) - 1)(FakePredictor).remote([])  # another job's
    ray.get(holder.load.remote())
    pool = PredictorPool(lambda: actor_class.remote([]), 2, BATCH, lines.append, lambda records: None)

    most: dict[int, int] = {}
    try:
        assert len(list(pool.predict([block] * 4))) == 4 and lines  # the last of them was taken back
        ray.kill(holder)
        ray.get([actor.load.remote() for actor in pool._actors])
        for process, busy in (one for some in pool.predict([block] * 12) for one in some):
            most[process] = max(busy, most.get(process, 0))
        assert list(most.values()) == [2, 2]
    finally:
        pool.end()


def test_a_block_that_takes_long_is_told_of_meanwhile(block):
    told: list[int] = []
    assert _answers(_pool([], [], "", False, "", 4.0, told=told), [block]) == [(0, []), (1, [])]
    assert 3 in told


def test_a_death_that_nothing_in_the_block_explains_costs_nothing(block, tmp_path):
    lines: list[str] = []
    assert _answers(_pool(lines, [3], str(tmp_path / "died")), [block] * 2) == [(0, [])] * 2 + [(1, [])] * 2
    assert lines == ["a predictor's process died; another one takes its place"]


def test_records_that_kill_are_found_and_the_others_predicted(block):
    lines: list[str] = []
    # Both pieces hold a record 3 and a record 9; only these are left out.
    assert _answers(_pool(lines, [3, 9]), [block]) == [(0, [3, 9]), (1, [3, 9])]
    assert any("looking for what they died of" in line for line in lines)


@pytest.mark.slow
def test_a_record_in_whose_lone_trial_a_predictor_is_killed_once_is_not_to_blame(block, tmp_path):
    killed = tmp_path / "killed"
    assert _answers(_pool([], [3], "", False, str(killed)), [block]) == [(0, [3]), (1, [3])]
    assert killed.exists()


class KilledPredictor(FakePredictor):
    """Is killed ten times, whatever it is given: its memory is taken by others, say."""

    def _die_of(self, records: set[int]) -> None:
        with open(self._file, "a") as file:
            file.write("x")
        if os.path.getsize(self._file) <= 10:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_no_record_is_to_blame_where_predictors_die_of_nothing_as_well(block, tmp_path):
    actor_class = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=3)(KilledPredictor)
    pool = PredictorPool(
        lambda: actor_class.remote([], str(tmp_path / "deaths")), 1, BATCH, print, lambda records: None
    )
    assert _answers(pool, [block]) == [(0, []), (1, [])]


@pytest.mark.slow
def test_many_predictors_that_die_at_once_are_replaced(block, tmp_path, monkeypatch):
    monkeypatch.setattr(predictor_pool, "_DEATHS_IN_A_ROW", 1)
    lines: list[str] = []
    pool = _pool(lines, [], "", False, "", 2.0, predictors=3)
    answers = pool.predict([block] * 6)
    first = next(answers)
    for actor in list(pool._actors):
        ray.kill(actor)
    rest = [one for some in answers for one in some]
    pool.end()
    assert len([*first, *rest]) == 12 and lines.count("a predictor's process died; another one takes its place") == 3


@pytest.mark.slow
def test_deadly_records_beside_each_other_are_all_found(block):
    assert _answers(_pool([], [0, 1, 2, 3]), [block]) == [(0, [0, 1, 2, 3]), (1, [0, 1, 2, 3])]


@pytest.mark.slow
def test_many_deadly_pieces_with_no_good_one_between_end_no_run(block, monkeypatch):
    monkeypatch.setattr(predictor_pool, "_DEATHS_IN_A_ROW", 6)  # fewer than the pieces' twelve
    piece = ray.put(ray.get(block).slice(0, 1))
    assert _answers(_pool([], [3]), [piece] * 6) == [(0, [3])] * 6


@pytest.mark.slow
def test_a_model_that_kills_whatever_it_is_given_ends_the_run(block, monkeypatch):
    monkeypatch.setattr(predictor_pool, "_DEATHS_IN_A_ROW", 6)
    with pytest.raises(InfrastructureError, match="Every record kills the predictor"):
        _answers(_pool([], range(20)), [block])


def test_an_error_of_the_model_is_no_death(block):
    with pytest.raises(UserError, match="no model"):
        _answers(_pool([], [], "", True), [block])
