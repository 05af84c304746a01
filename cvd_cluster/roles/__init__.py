"""One role of a run: a light Ray actor, the TensorFlow process it owns, and what it says of it."""
