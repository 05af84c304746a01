"""Pictures -> TFRecord shards, without TensorFlow."""
