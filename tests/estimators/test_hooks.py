"""The hooks of a training session, in small sessions of TensorFlow's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from estimators.checkpoints.checkpoint_files import list_checkpoints
from estimators.hooks import progress, step_report
from estimators.hooks.checkpoint_saving import AtMultiples, checkpoint_hook
from estimators.hooks.last_step import LastStepHook
from estimators.hooks.progress import ProgressHook
from estimators.hooks.step_report import StepReportHook, StepTensors
from estimators.train_dir.training_progress import read_progress


class Clock:
    """A clock that goes one second in each training step."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def graph() -> Iterator[None]:
    with tf.Graph().as_default():
        yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (progress, step_report):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


def train(
    hooks: list[Any], steps: int, *, stride: int = 1, folder: Path | None = None, clock: Clock | None = None
) -> None:
    """So many steps of this replica; other replicas make global_step go by `stride`."""
    global_step = tf.compat.v1.train.get_or_create_global_step()
    train_op = global_step.assign_add(stride)
    checkpoints = str(folder) if folder else None
    with tf.compat.v1.train.SingularMonitoredSession(hooks=hooks, checkpoint_dir=checkpoints) as session:
        for _ in range(steps):
            if clock:
                clock.now += 1.0
            session.run(train_op)


def report_hook(folder: Path, lines: list[str], *, every: int, examples_per_step: int = 8) -> StepReportHook:
    # Two of four predictions are right.
    tensors = StepTensors(
        tf.constant([[0.9], [0.2], [0.6], [0.4]]),
        tf.constant([[1.0], [0.0], [0.0], [1.0]]),
        tf.constant(0.625),
        0.01 + tf.zeros([]),
    )
    return StepReportHook(
        tensors, every_n_steps=every, examples_per_step=examples_per_step, train_dir=str(folder), line=lines.append
    )


def reported_steps(lines: list[str]) -> list[int]:
    return [int(re.findall(r"training step (\d+) ", line)[0]) for line in lines]


def test_a_step_is_reported_in_the_form_of_2017(tmp_path: Path, clock: Clock) -> None:
    lines: list[str] = []
    train([report_hook(tmp_path, lines, every=5)], 5, clock=clock)
    (line,) = lines
    # Five steps of eight examples in five seconds.
    assert line.startswith("training step 5 | Loss: 0.62 Examples/sec: 8.00 | Hit@1: 0.50 PERR: ")
    assert re.fullmatch(r".* \| Hit@1: 0\.50 PERR: \d\.\d\d GAP: \d\.\d\d", line)


@pytest.mark.parametrize(("every", "expected"), [(1, list(range(1, 11))), (3, [3, 6, 9]), (10, [10]), (11, [])])
def test_every_nth_step_is_reported(tmp_path: Path, every: int, expected: list[int]) -> None:
    lines: list[str] = []
    train([report_hook(tmp_path, lines, every=every)], 10)
    assert reported_steps(lines) == expected
    progress = read_progress(str(tmp_path))
    assert ([progress.global_step] if progress else []) == expected[-1:], "those who look later see the last report"


@pytest.mark.parametrize("stride", [2, 3, 7, 10])
def test_where_others_go_on_too_the_first_step_from_each_nth_on_is_reported_once(
    tmp_path: Path, stride: int, clock: Clock
) -> None:
    lines: list[str] = []
    train([report_hook(tmp_path, lines, every=10, examples_per_step=1)], 40, stride=stride, clock=clock)
    steps = reported_steps(lines)
    assert [step // 10 for step in steps] == list(range(1, 4 * stride + 1))
    assert all(step % 10 < stride for step in steps)
    speeds = [float(speed) for line in lines for speed in re.findall(r"Examples/sec: ([\d.]+)", line)]
    np.testing.assert_allclose(speeds, stride, rtol=1e-3)


def test_a_replica_whose_first_step_is_slow_reports_it_though_it_makes_few(tmp_path: Path) -> None:
    lines: list[str] = []
    train([report_hook(tmp_path, lines, every=10)], 1, stride=32)
    assert reported_steps(lines) == [32]


def test_after_a_restart_steps_are_counted_from_the_restored_one(tmp_path: Path, clock: Clock) -> None:
    first: list[str] = []
    saver = checkpoint_hook(str(tmp_path), timer=AtMultiples(100))
    train([report_hook(tmp_path, first, every=10), saver], 14, folder=tmp_path, clock=clock)
    with tf.Graph().as_default():
        second: list[str] = []
        clock.now += 3600
        train([report_hook(tmp_path, second, every=10)], 14, folder=tmp_path, clock=clock)
    assert (reported_steps(first), reported_steps(second)) == ([10], [20])
    assert "Examples/sec: 8.00" in second[0], "the hour between the two is not counted"


def test_the_same_numbers_go_to_tensorboard(tmp_path: Path, clock: Clock) -> None:
    train([report_hook(tmp_path, [], every=2)], 4, clock=clock)
    (path,) = tmp_path.glob("events.out.tfevents.*")
    found = {
        (event.step, value.tag): value.simple_value
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert {step for step, _ in found} == {2, 4}
    assert {tag for _, tag in found} == {"loss", "Hit@1", "PERR", "GAP", "examples_per_second", "learning_rate"}
    assert found[4, "loss"] == 0.625 and found[4, "learning_rate"] == pytest.approx(0.01)
    assert found[4, "examples_per_second"] == pytest.approx(8)


class Recorder:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def progress(self, global_step: int, local_steps: int) -> None:
        assert global_step >= 0 and local_steps > 0
        self.told.append((global_step, local_steps))

    def line(self, text: str) -> None:
        raise AssertionError(text)

    def checkpoint_saved(self, global_step: int) -> None:
        raise AssertionError(global_step)

    training_finished = training_stopped = checkpoint_saved


def test_the_first_and_the_last_step_are_told_and_between_them_not_more_than_two_a_second(clock: Clock) -> None:
    reporter = Recorder()
    global_step = tf.compat.v1.train.get_or_create_global_step()
    train_op = global_step.assign_add(1)
    with tf.compat.v1.train.SingularMonitoredSession(hooks=[ProgressHook(reporter)]) as session:
        for _ in range(100):
            session.run(train_op)
            clock.now += 0.1
    assert reporter.told[0][1] == 1 and reporter.told[-1] == (100, 100)
    assert [local for _, local in reporter.told[:4]] == [1, 6, 11, 16] and len(reporter.told) == 21


def test_steps_of_others_are_in_the_global_step_alone(clock: Clock) -> None:
    reporter = Recorder()
    train([ProgressHook(reporter)], 5, stride=3, clock=clock)
    assert reporter.told[-1] == (15, 5)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (5, [(0, False), (2, False), (4, False), (5, False), (5, True)]),
        (4, [(0, False), (2, False), (4, False), (4, True)]),
        (1, [(0, False), (1, False), (1, True)]),
    ],
)
def test_checkpoints_are_saved_at_the_start_every_nth_step_and_at_the_end(
    tmp_path: Path, steps: int, expected: list[tuple[int, bool]]
) -> None:
    saved: list[tuple[int, bool]] = []

    def after(step: int, is_last: bool) -> None:
        complete = [checkpoint.step for checkpoint in list_checkpoints(str(tmp_path / "new"))]
        assert step in complete, "it is told once the checkpoint is complete"
        saved.append((step, is_last))

    train([checkpoint_hook(str(tmp_path / "new"), timer=AtMultiples(2), saved=after)], steps, folder=tmp_path / "new")
    assert saved == expected


def test_without_a_listener_checkpoints_are_saved_all_the_same(tmp_path: Path) -> None:
    train([checkpoint_hook(str(tmp_path), timer=AtMultiples(2))], 3)
    assert [checkpoint.step for checkpoint in list_checkpoints(str(tmp_path))] == [0, 2, 3]


def test_an_error_in_training_saves_no_last_checkpoint(tmp_path: Path) -> None:
    saved: list[tuple[int, bool]] = []
    hook = checkpoint_hook(
        str(tmp_path), timer=AtMultiples(2), saved=lambda step, is_last: saved.append((step, is_last))
    )
    step = tf.compat.v1.train.get_or_create_global_step()
    with tf.control_dependencies([tf.debugging.Assert(step < 3, ["the data is damaged"])]):
        train_op = step.assign_add(1)

    def train_on() -> None:
        with tf.compat.v1.train.SingularMonitoredSession([hook]) as session:
            while True:
                session.run(train_op)

    with pytest.raises(tf.errors.InvalidArgumentError):
        train_on()
    assert saved == [(0, False), (2, False)]
    assert [checkpoint.step for checkpoint in list_checkpoints(str(tmp_path))] == [0, 2]


def test_a_checkpoint_is_due_at_the_multiples_of_each_period_even_if_steps_jump_over_them() -> None:
    timer = AtMultiples(20, 7)
    due = []
    for step in range(0, 43):
        if timer.should_trigger_for_step(step):
            timer.update_last_triggered_step(step)
            due.append(step)
    assert due == [0, 7, 14, 20, 21, 28, 35, 40, 42]
    assert timer.last_triggered_step() == 42
    assert timer.should_trigger_for_step(50) and not timer.should_trigger_for_step(48)


@pytest.mark.parametrize(("others", "made"), [(0, 10), (3, 3), (9, 1)])
def test_no_step_is_begun_once_all_workers_together_made_the_last(others: int, made: int) -> None:
    """Others make so many steps while this replica makes one, after it has read the step."""
    global_step = tf.compat.v1.train.get_or_create_global_step()
    train_op = global_step.assign_add(1 + others)
    count = 0
    hook = LastStepHook(10, num_workers=2)
    with tf.compat.v1.train.SingularMonitoredSession(hooks=[hook]) as session:
        while not session.should_stop():
            session.run(train_op)
            count += 1
            assert count <= made
    assert count == made
