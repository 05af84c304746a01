"""A model whose evaluation waits until it is let through, and a loss that fails."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from estimators import BaseLoss
from estimators.cvd_models import LogisticModel

# Names a folder: evaluation says there by a file of its process id that it began, and waits for a file "go".
GATE = "CVD_TEST_GATE"


class GatedModel(LogisticModel):
    """LogisticModel, with a gate before each batch where there is one."""

    def create_model(
        self, model_input: Any, num_classes: int = 2, is_training: bool = True, **params: Any
    ) -> dict[str, Any]:
        output = super().create_model(model_input, num_classes=num_classes, is_training=is_training, **params)
        if GATE in os.environ and not is_training:
            passed = tf.numpy_function(_pass_gate, [], tf.bool)
            with tf.control_dependencies([passed]):
                output["predictions"] = tf.identity(output["predictions"])
        return output


def _pass_gate() -> Any:
    gate = Path(os.environ[GATE])
    (gate / str(os.getpid())).touch()
    while not (gate / "go").exists():
        time.sleep(0.05)
    return np.bool_(True)


class BrokenLoss(BaseLoss):
    """Its author forgot something."""

    def calculate_loss(self, predictions: Any, labels: Any, **params: Any) -> Any:
        raise KeyError("forgotten")
