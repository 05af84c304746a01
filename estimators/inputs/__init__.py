"""Files of records -> the batches that a model sees."""
