"""Checkpoints and ends at request, in small sessions of TensorFlow's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from estimators.checkpoints.checkpoint_files import list_checkpoints
from estimators.hooks.agreed_requests import AgreedRequests
from estimators.hooks.checkpoint_saving import AtMultiples, checkpoint_hook


class At(tf.estimator.SessionRunHook):  # type: ignore[misc]
    """Does something before the step of a number."""

    def __init__(self, step: int, act: Any) -> None:
        self._at, self._act, self._step = step, act, 0

    def before_run(self, run_context: Any) -> None:
        self._step += 1
        if self._step == self._at:
            self._act()


def train(
    folder: Path, requests: AgreedRequests, *hooks: Any, steps: int = 10, timer: AtMultiples | None = None
) -> int:
    """Trains with a saver that is never due by itself; the last step made."""
    timer = timer or AtMultiples(1000)
    every_secs = getattr(requests, "every_secs", None)
    requests.attach(timer, every_secs=every_secs)
    with tf.Graph().as_default():
        step = tf.compat.v1.train.get_or_create_global_step()
        train_op = step.assign_add(1)
        saver = checkpoint_hook(str(folder), timer=timer)
        every_hook = [*hooks, tf.estimator.StopAtStepHook(last_step=steps), requests, saver]
        with tf.compat.v1.train.SingularMonitoredSession(every_hook) as session:
            while not session.should_stop():
                session.run(train_op)
    return list_checkpoints(str(folder))[-1].step


def steps_of(folder: Path) -> list[int]:
    return [checkpoint.step for checkpoint in list_checkpoints(str(folder))]


def test_a_request_to_stop_saves_and_ends_training(tmp_path: Path) -> None:
    requests = AgreedRequests()
    assert train(tmp_path, requests, At(6, requests.request_stop)) == 6
    assert steps_of(tmp_path) == [0, 6] and requests.stopped


def test_a_request_before_the_first_step_is_obeyed_after_it(tmp_path: Path) -> None:
    requests = AgreedRequests()
    requests.request_stop()
    assert train(tmp_path, requests) == 1


def test_a_checkpoint_is_saved_when_the_last_one_is_so_many_seconds_old(tmp_path: Path) -> None:
    seconds = iter(range(1000))
    requests = AgreedRequests(clock=lambda: float(at[0]))
    at = [0]

    class Clock(tf.estimator.SessionRunHook):  # type: ignore[misc]
        def before_run(self, run_context: Any) -> None:
            at[0] = next(seconds)

    requests.every_secs = 4
    train(tmp_path, requests, Clock(), steps=11, timer=AtMultiples(1000, clock=lambda: float(at[0])))
    assert steps_of(tmp_path) == [0, 5, 9, 11]


def test_replicas_that_agree_obey_the_request_of_one(tmp_path: Path) -> None:
    """Two processes' signals, summed: this one asks for nothing and stops all the same."""
    requests = AgreedRequests()
    timer = AtMultiples(1000)
    requests.attach(timer, every_secs=None)
    with tf.Graph().as_default():
        step = tf.compat.v1.train.get_or_create_global_step()
        of_the_other = tf.cast(tf.equal(step, 3), tf.float32) * tf.constant([0.0, 1.0])
        with tf.control_dependencies([requests.new_signal() + of_the_other]):
            requests.agree_by(requests.new_signal() + of_the_other)
        train_op = step.assign_add(1)
        hooks = [requests, checkpoint_hook(str(tmp_path), timer=timer)]
        with tf.compat.v1.train.SingularMonitoredSession(hooks) as session:
            while not session.should_stop():
                session.run(train_op)
    assert requests.stopped and steps_of(tmp_path)[-1] in (3, 4)


@pytest.mark.parametrize("asks", [True, False])
def test_what_this_process_asks_for_goes_into_the_sum(asks: bool, tmp_path: Path) -> None:
    requests = AgreedRequests()
    requests.attach(AtMultiples(1000), every_secs=None)
    if asks:
        requests.request_stop()
    sums = []
    with tf.Graph().as_default():
        total = requests.new_signal() * 2
        requests.agree_by(total)

        class Read(tf.estimator.SessionRunHook):  # type: ignore[misc]
            def before_run(self, run_context: Any) -> Any:
                return tf.estimator.SessionRunArgs(total)

            def after_run(self, run_context: Any, run_values: Any) -> None:
                sums.append(run_values.results.tolist())

        with tf.compat.v1.train.SingularMonitoredSession([requests, Read()]) as session:
            session.run(total)
    assert sums == [[0.0, 2.0 * asks]]
