"""Makes a small SavedModel with the signature of an export: python -m tests.integration.served_model FOLDER

It takes the mean brightness of a picture, in [0, 1], for the probability of class 1, so that what it must answer can be
told from the picture. A picture of DEADLY_WIDTH pixels aborts the process, inside of TensorFlow.
"""

from __future__ import annotations

import sys

import tensorflow as tf

from tests.integration.prediction_runs import DEADLY_WIDTH

v1 = tf.compat.v1


def main(folder: str) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        example_bytes = v1.placeholder(tf.string, [None])
        wanted = {name: v1.FixedLenFeature([], tf.string) for name in ("image/encoded", "image/filename")}
        fields = v1.parse_example(example_bytes, wanted)
        light = tf.map_fn(_brightness, fields["image/encoded"], fn_output_signature=tf.float32)
        probabilities = tf.stack([1 - light, light], axis=1)
        predictions, class_indexes = tf.nn.top_k(probabilities, k=2)
        v1.saved_model.simple_save(
            session,
            folder,
            {"example_bytes": example_bytes},
            {"image_id": fields["image/filename"], "class_indexes": class_indexes, "predictions": predictions},
        )


def _brightness(encoded: tf.Tensor) -> tf.Tensor:
    pixels = tf.io.decode_jpeg(encoded, channels=3)

    def abort() -> tf.Tensor:
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="a deadly picture")]):
            return tf.constant(0.0)

    def mean() -> tf.Tensor:
        return tf.reduce_mean(tf.cast(pixels, tf.float32)) / 255

    return tf.cond(tf.equal(tf.shape(pixels)[1], DEADLY_WIDTH), abort, mean)


if __name__ == "__main__":
    main(sys.argv[1])
