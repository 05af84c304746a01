"""Records and the files of them, read and checked without TensorFlow."""
