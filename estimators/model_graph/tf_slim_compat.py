"""What tf_slim 1.1, made for TensorFlow 1, still looks for in TensorFlow 2.15."""

from __future__ import annotations

import functools
import importlib.util


@functools.cache
def make_tf_slim_usable() -> None:
    """Puts the two names in their place, if tf_slim is installed; a model that 2017 built with it then works.

    `slim.batch_norm` asks TensorFlow for a layer that it looks for in the package tf_keras, which 2.15 does not come
    with (Keras 2.15 has it), and for `ops.Tensor`, which moved.
    """
    if importlib.util.find_spec("tf_slim") is None:
        return
    import tensorflow as tf
    from keras.src.legacy_tf_layers import normalization
    from tensorflow.python.framework import ops
    from tensorflow.python.layers import normalization as tensorflow_normalization

    tensorflow_normalization.normalization = normalization
    if not hasattr(ops, "Tensor"):
        ops.Tensor = tf.Tensor
