"""Models and losses of a user's own, right and wrong ones."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from estimators import BaseLoss, BaseModel


def _mean_colour(model_input: Any) -> Any:
    return tf.reduce_mean(model_input, axis=[1, 2, 3], keepdims=False)[:, tf.newaxis]


class ScaledMean(BaseModel):
    """One column: sigmoid(w * mean of the picture), w = 2 at first; says whether it trains."""

    calls: list[tuple[int, bool]] = []  # noqa: RUF012 - read by the tests

    def create_model(self, model_input, num_classes=2, is_training=True, **params):
        ScaledMean.calls.append((num_classes, is_training))
        weight = tf.compat.v1.get_variable("weight", [], initializer=tf.compat.v1.constant_initializer(2.0))
        return {"predictions": tf.sigmoid(weight * _mean_colour(model_input))}


class KColumns(BaseModel):
    """K columns that fall with their number: 1 - k / K."""

    def create_model(self, model_input, num_classes=2, is_training=True, **params):
        bias = tf.compat.v1.get_variable("bias", [], initializer=tf.compat.v1.zeros_initializer())
        columns = 1 - tf.range(num_classes, dtype=tf.float32) / num_classes
        return {"predictions": 0 * _mean_colour(model_input) + columns + bias}


class Penalized(BaseModel):
    """A penalty of 3 w beside a prediction of 0.5, and another of 5 w in TensorFlow's collection; an update a step."""

    def create_model(self, model_input, num_classes=2, is_training=True, **params):
        weight = tf.compat.v1.get_variable("weight", [], initializer=tf.compat.v1.ones_initializer())
        counter = tf.compat.v1.get_variable(
            "counter", [], trainable=False, initializer=tf.compat.v1.zeros_initializer()
        )
        tf.compat.v1.add_to_collection(tf.compat.v1.GraphKeys.UPDATE_OPS, counter.assign_add(1.0))
        tf.compat.v1.add_to_collection(tf.compat.v1.GraphKeys.REGULARIZATION_LOSSES, 5 * weight)
        bias = tf.compat.v1.get_variable("bias", [], initializer=tf.compat.v1.constant_initializer(0.5))
        return {"predictions": bias + 0 * _mean_colour(model_input), "regularization_loss": 3 * weight}


class KerasDropout(BaseModel):
    """A dense layer of Keras on what dropout leaves of the pixels."""

    def create_model(self, model_input, num_classes=2, is_training=True, **params):
        layers = tf.keras.layers
        net = layers.Dropout(0.5)(layers.Flatten()(model_input))
        return {"predictions": layers.Dense(1, activation="sigmoid")(net)}


class Returns(BaseModel):
    """Returns what `output` makes of the mean colour [B, 1]."""

    output: Any

    def create_model(self, model_input, num_classes=2, is_training=True, **params):
        return type(self).output(_mean_colour(model_input))


class NoPredictions(Returns):
    output = staticmethod(lambda mean: {"logits": mean, "loss": mean})


class NoDictionary(Returns):
    output = staticmethod(lambda mean: mean)


class FlatPredictions(Returns):
    output = staticmethod(lambda mean: {"predictions": mean[:, 0]})


class ThreeColumns(Returns):
    output = staticmethod(lambda mean: {"predictions": tf.concat([mean] * 3, axis=1)})


class OneColumn(Returns):
    output = staticmethod(lambda mean: {"predictions": mean})


class HalfABatch(Returns):
    output = staticmethod(lambda mean: {"predictions": mean[:2]})


class VectorPenalty(Returns):
    @staticmethod
    def output(mean):
        weight = tf.compat.v1.get_variable("w", [3])
        return {"predictions": tf.sigmoid(mean * weight[0]), "regularization_loss": weight}


class LoneUpdate(Returns):
    @staticmethod
    def output(mean):
        return {"predictions": tf.sigmoid(mean * tf.compat.v1.get_variable("w", [])), "update_ops": tf.no_op()}


class VectorLoss(BaseLoss):
    def calculate_loss(self, predictions, labels, **params):
        return tf.reduce_mean(tf.square(predictions - labels), axis=1)


class NumberLoss(BaseLoss):
    def calculate_loss(self, predictions, labels, **params):
        return 0.5


class SquaredLoss(BaseLoss):
    def calculate_loss(self, predictions, labels, **params):
        return tf.reduce_mean(tf.reduce_sum(tf.square(labels - predictions), axis=1))


class NanModel(Returns):
    """Its loss is NaN from the first step on."""

    output = staticmethod(
        lambda mean: {
            "predictions": mean * tf.compat.v1.get_variable("w", [], initializer=tf.constant_initializer(float("nan")))
        }
    )


class _SpoiledInStep10(BaseModel):
    """All is well for nine steps."""

    spoiled: Any

    def create_model(self, model_input, num_classes=2, is_training=True, **params):
        weight = tf.compat.v1.get_variable("w", [], initializer=tf.compat.v1.constant_initializer(0.5))
        loss = tf.cond(
            tf.compat.v1.train.get_or_create_global_step() >= 9, lambda: self.spoiled(weight), lambda: 0.1 * weight
        )
        return {"predictions": tf.sigmoid(weight * _mean_colour(model_input)), "loss": loss}


class NanLossInStep10(_SpoiledInStep10):
    """The loss is NaN."""

    @staticmethod
    def spoiled(weight):
        return weight * float("nan")


class NanWeightsAfterStep10(_SpoiledInStep10):
    """The loss is 0, and its gradient infinite: the weight is NaN after the step, the loss only in the next one."""

    @staticmethod
    def spoiled(weight):
        zero = tf.cast(tf.compat.v1.train.get_or_create_global_step() < 0, tf.float32)  # a plain 0 is optimised away
        return tf.sqrt(zero * weight)


class NanPredictions(BaseModel):
    """Its loss knows nothing of its predictions."""

    def create_model(self, model_input, num_classes=2, is_training=True, **params):
        weight = tf.compat.v1.get_variable("w", [], initializer=tf.compat.v1.constant_initializer(0.5))
        return {"predictions": _mean_colour(model_input) * float("nan"), "loss": 0.1 * weight}


class NanAverageAfterStep10(BaseModel):
    """A moving average that no loss sees, of one replica (the last) alone, is infinite after the step."""

    def create_model(self, model_input, num_classes=2, is_training=True, **params):
        mean = _mean_colour(model_input)
        average = tf.compat.v1.get_variable(
            "average",
            [],
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,  # a value a replica, as layers have it
            aggregation=tf.VariableAggregation.MEAN,
        )
        replicas = tf.distribute.get_replica_context()
        is_last = tf.equal(replicas.replica_id_in_sync_group, replicas.num_replicas_in_sync - 1)
        spoiled = is_last & (tf.compat.v1.train.get_or_create_global_step() >= 9)
        update = average.assign(tf.where(spoiled, float("inf"), tf.reduce_mean(mean)))
        return {"predictions": tf.sigmoid(mean * tf.compat.v1.get_variable("w", [])), "update_ops": [update]}


class NanFromStep10(BaseLoss):
    """7 whatever is predicted, so that weights stay as they are; NaN in the tenth step."""

    def calculate_loss(self, predictions, labels, **params):
        spoiled = tf.compat.v1.train.get_or_create_global_step() >= 9
        return tf.where(spoiled, float("nan"), 7.0) + 0.0 * tf.reduce_mean(predictions)


class OwnLossInTrainingAlone(BaseModel):
    """Its evaluation would show another loss than it was trained by."""

    def create_model(self, model_input, num_classes=2, is_training=True, **params):
        predictions = tf.sigmoid(tf.compat.v1.get_variable("w", []) * _mean_colour(model_input))
        return {"predictions": predictions, **({"loss": tf.reduce_mean(predictions)} if is_training else {})}


class BrokenInTheGraph(Returns):
    """Builds, and fails with TensorFlow's InvalidArgumentError when it is run."""

    @staticmethod
    def output(mean):
        weight = tf.compat.v1.get_variable("w", [])
        with tf.control_dependencies([tf.debugging.Assert(tf.size(mean) < 0, ["a mistake of the model"])]):
            return {"predictions": tf.sigmoid(mean * weight)}


class OneColumnOfScores(Returns):
    predicts_probabilities = False
    output = staticmethod(lambda mean: {"predictions": 5 * mean, "loss": tf.reduce_mean(tf.nn.softplus(-mean))})
