"""The contract of a model. Read this, then write yours like those in `cvd_models.py`.

Example:

    import tensorflow as tf
    from estimators import BaseModel

    class TwoLayerModel(BaseModel):
        def create_model(self, model_input, num_classes=2, is_training=True, **params):
            net = tf.compat.v1.layers.flatten(model_input)
            net = tf.compat.v1.layers.dense(net, 64, activation=tf.nn.relu)
            return {"predictions": tf.compat.v1.layers.dense(net, 1, activation=tf.nn.sigmoid)}
"""

from __future__ import annotations

import abc
from typing import Any


class BaseModel(abc.ABC):
    """Inherit from this class and build the graph of a model in `create_model`.

    Attributes:
      predicts_probabilities: False for a model whose predictions may lie outside [0, 1] (scores, logits). It then needs
        one column per class, and a loss that takes scores.
    """

    predicts_probabilities = True

    @abc.abstractmethod
    def create_model(
        self, model_input: Any, num_classes: int = 2, is_training: bool = True, **params: Any
    ) -> dict[str, Any]:
        """Builds the graph of the model, from pictures to predictions.

        It is called once in the graph of each replica (TensorFlow 1 graph mode): make variables with
        `tf.compat.v1.get_variable` or `tf.compat.v1.layers`.

        Args:
          model_input: float32 [B, H, W, 3], pictures with values in [-1, 1]. H and W are --image_size.
          num_classes: the number of classes, --num_classes.
          is_training: False in evaluation and in the exported model; dropout and the like depend on it.
          **params: what --model_params says, by name; name those that you know with a default, e.g.
            `num_layers=2`, and accept the rest.

        Returns:
          A dictionary with

          predictions: float32, one of
            [B, 1]: the probability of class 1, where num_classes is 2 (one sigmoid column);
            [B, num_classes]: one column per class.
          loss: optional, a scalar that takes the place of what --label_loss would compute, which is then refused. It
            must be there in evaluation too.
          regularization_loss: optional, a scalar that is added to the loss, times --regularization_penalty.
          update_ops: optional, a list of operations to run with each training step, such as updates of moving
            averages. Those of layers (`tf.compat.v1.layers`, `tf.keras.layers`, `tf_slim`) are found without being
            named. A variable of your own that such an operation assigns should say how the values of several replicas
            become one, `get_variable(…, trainable=False, aggregation=tf.VariableAggregation.MEAN)`; without that the
            checkpoint holds the first replica's.
        """
