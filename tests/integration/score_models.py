"""A model of scores, which may have any size."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from estimators import BaseModel


class LinearScores(BaseModel):
    """W x + b, one column per class."""

    predicts_probabilities = False

    def create_model(
        self, model_input: Any, num_classes: int = 2, is_training: bool = True, **params: Any
    ) -> dict[str, Any]:
        layers = tf.compat.v1.layers
        return {"predictions": 3.0 * layers.dense(layers.flatten(model_input), num_classes)}
