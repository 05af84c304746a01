"""The columns of a block of records."""

SHARD = "shard"  # int32, the index of its file
ROW = "row"  # int64, its number in that file
RECORD = "record"  # bytes, a serialized tf.train.Example
