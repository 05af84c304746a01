"""Model + loss + optimizer -> the graph that tf.estimator trains, evaluates and exports."""
