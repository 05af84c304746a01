from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from estimators.experiment_options import OPTIMIZERS, ExperimentOptions
from estimators.model_graph.optimizers import learning_rate_at, minimize


def options(**values: object) -> ExperimentOptions:
    return ExperimentOptions(train_dir="/t", train_data_pattern="/d", **values)  # type: ignore[arg-type]


def rate(step: int, examples_per_step: int) -> float:
    return rate_of(
        options(learning_rate_decay=0.5, learning_rate_decay_examples=1000, base_learning_rate=0.1),
        step,
        examples_per_step,
    )


def rate_of(made: ExperimentOptions, step: int, examples_per_step: int) -> float:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        made_at = learning_rate_at(
            tf.constant(step, tf.int64), made, examples_per_step=examples_per_step, max_steps=100
        )
        return float(session.run(made_at))


def test_the_learning_rate_falls_in_stairs_by_the_examples_of_all_replicas() -> None:
    assert rate(0, 100) == rate(9, 100) == pytest.approx(0.1)
    assert rate(10, 100) == rate(19, 100) == pytest.approx(0.05)
    assert rate(30, 100) == pytest.approx(0.0125)


@pytest.mark.parametrize("examples", [0, 960, 1024, 4096, 64_000])
def test_the_learning_rate_depends_on_examples_and_not_on_how_they_are_put_into_steps(examples: int) -> None:
    assert rate(examples // 32, 32) == rate(examples // 64, 64)


def test_a_decay_of_one_keeps_the_learning_rate() -> None:
    made = options(base_learning_rate=0.1, learning_rate_decay=1.0, learning_rate_decay_examples=1)
    assert rate_of(made, 10**9, 512) == pytest.approx(0.1)


def test_a_cosine_falls_from_the_base_to_zero_at_the_last_step() -> None:
    made = options(base_learning_rate=0.1, learning_rate_schedule="cosine")
    rates = [rate_of(made, step, 8) for step in (0, 25, 50, 100, 130)]
    np.testing.assert_allclose(rates, [0.1, 0.05 * (1 + np.sqrt(0.5)), 0.05, 0, 0], atol=1e-6)


def step_of(clip_norm: float, gradients: dict[str, list[float]]) -> dict[str, Any]:
    """One step of size 1 from 0 against these gradients: variable -> its value then; and global_step."""
    with tf.Graph().as_default():
        v1 = tf.compat.v1
        global_step = v1.train.get_or_create_global_step()
        variables = {
            name: v1.get_variable(name, [len(values)], initializer=v1.zeros_initializer())
            for name, values in gradients.items()
        }
        unused = v1.get_variable("unused", [2], initializer=v1.ones_initializer())
        loss = tf.add_n([tf.reduce_sum(variables[name] * values) for name, values in gradients.items()])
        train_op = minimize(
            v1.train.GradientDescentOptimizer(1.0), loss, global_step=global_step, clip_norm=clip_norm
        ).train_op
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            session.run(train_op)
            result: dict[str, Any] = session.run({**variables, "global_step": global_step, "unused": unused})
            return result


def test_each_gradient_is_clipped_by_its_own_norm() -> None:
    after = step_of(1.0, {"large": [3.0, 4.0], "small": [0.3, 0.4], "zero": [0.0]})
    np.testing.assert_allclose(after["large"], [-0.6, -0.8], rtol=1e-6)
    np.testing.assert_allclose(after["small"], [-0.3, -0.4], rtol=1e-6)
    np.testing.assert_array_equal(after["zero"], [0.0])
    assert after["global_step"] == 1


def test_zero_does_not_clip() -> None:
    np.testing.assert_allclose(step_of(0.0, {"large": [30.0, 40.0]})["large"], [-30.0, -40.0])


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_a_variable_that_the_loss_does_not_see_stays(clip_norm: float) -> None:
    np.testing.assert_array_equal(step_of(clip_norm, {"seen": [1.0]})["unused"], [1.0, 1.0])


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_the_gradient_of_a_lookup_is_clipped_like_any_other(clip_norm: float) -> None:
    with tf.Graph().as_default():
        v1 = tf.compat.v1
        table = v1.get_variable("table", [3, 2], initializer=v1.zeros_initializer())
        loss = tf.reduce_sum(tf.nn.embedding_lookup(table, [1, 1]) * [3.0, 4.0])
        optimizer = v1.train.GradientDescentOptimizer(1.0)
        step = v1.train.get_or_create_global_step()
        train_op = minimize(optimizer, loss, global_step=step, clip_norm=clip_norm).train_op
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            session.run(train_op)
            after = session.run(table)
    np.testing.assert_allclose(after[1], [-0.6, -0.8] if clip_norm else [-6.0, -8.0], rtol=1e-6)
    assert not after[[0, 2]].any()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_that_can_be_named_lowers_a_loss(name: str) -> None:
    with tf.Graph().as_default():
        v1 = tf.compat.v1
        weights = v1.get_variable("weights", [4], initializer=v1.zeros_initializer())
        loss = tf.reduce_mean(tf.square(weights - 3.0))
        global_step = v1.train.get_or_create_global_step()
        learning_rate = learning_rate_at(
            global_step, options(base_learning_rate=0.1), examples_per_step=8, max_steps=100
        )
        optimizer = getattr(v1.train, name)(learning_rate)
        train_op = minimize(optimizer, loss, global_step=global_step, clip_norm=1.0).train_op
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            before = session.run(loss)
            for _ in range(5):
                session.run(train_op)
            assert session.run(loss) < before and session.run(global_step) == 5
