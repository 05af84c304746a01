"""The fields of one TFRecord example, and a way to read and write one without TensorFlow.

A record is a serialized `tf.train.Example`:

    image/encoded       bytes   one picture file (JPEG as a rule), any size
    image/filename      bytes   the id that goes into the submission
    image/class/label   int64   0 … num_classes - 1; missing in a test set
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

IMAGE_ENCODED = "image/encoded"
IMAGE_ID = "image/filename"
IMAGE_LABEL = "image/class/label"


@dataclass(frozen=True)
class Example:
    """One decoded record; None where a field is missing or empty."""

    encoded: bytes | None
    image_id: bytes | None
    label: int | None


@functools.cache
def _example_class() -> Any:
    """Protobuf's class for `tf.train.Example`, made from its description here.

    TensorFlow's own `example_pb2` cannot be had without importing all of TensorFlow (3–5 s). The pool is private, so
    that TensorFlow can register its own description of the same names in the same process.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, int, str]) -> Any:
        made = file.message_type.add(name=name)
        for field_name, number, label, kind, type_name in fields:
            made.field.add(
                name=field_name,
                number=number,
                label=label,
                type=kind,
                type_name=type_name or None,
            )
        return made

    one, many, msg = field.LABEL_OPTIONAL, field.LABEL_REPEATED, field.TYPE_MESSAGE
    message("BytesList", ("value", 1, many, field.TYPE_BYTES, ""))
    message("FloatList", ("value", 1, many, field.TYPE_FLOAT, ""))
    message("Int64List", ("value", 1, many, field.TYPE_INT64, ""))
    kinds = (
        ("bytes_list", ".tensorflow.BytesList"),
        ("float_list", ".tensorflow.FloatList"),
        ("int64_list", ".tensorflow.Int64List"),
    )
    feature = message("Feature", *((name, i + 1, one, msg, kind) for i, (name, kind) in enumerate(kinds)))
    feature.oneof_decl.add(name="kind")
    for made_field in feature.field:
        made_field.oneof_index = 0
    features = message("Features", ("feature", 1, many, msg, ".tensorflow.Features.FeatureEntry"))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.field.add(name="key", number=1, label=one, type=field.TYPE_STRING)
    entry.field.add(name="value", number=2, label=one, type=msg, type_name=".tensorflow.Feature")
    entry.options.map_entry = True
    message("Example", ("features", 1, one, msg, ".tensorflow.Features"))

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def parse_example(serialized: bytes) -> Example:
    """Reads one record.

    Raises:
      ValueError: the bytes are not a `tf.train.Example`.
    """
    message = _example_class()()
    try:
        message.ParseFromString(serialized)
    except Exception as error:  # protobuf's DecodeError is not the same class in all its implementations
        raise ValueError(f"not a tf.train.Example: {error}") from error
    features = message.features.feature

    def first(key: str, kind: str) -> Any:
        values: Any = getattr(features[key], kind).value if key in features else ()
        return values[0] if len(values) else None

    return Example(
        encoded=first(IMAGE_ENCODED, "bytes_list") or None,
        image_id=first(IMAGE_ID, "bytes_list") or None,
        label=first(IMAGE_LABEL, "int64_list"),
    )


def field_error(serialized: bytes, *, with_label: bool) -> str | None:
    """What keeps TensorFlow from reading a field that is there: a wrong kind, not exactly one value; None if nothing.

    Args:
      serialized: a record that `parse_example` reads.
      with_label: whether the label will be read.
    """
    message = _example_class()()
    message.ParseFromString(serialized)
    features = message.features.feature
    kinds = {IMAGE_ENCODED: "bytes_list", IMAGE_ID: "bytes_list"} | ({IMAGE_LABEL: "int64_list"} if with_label else {})
    for key, kind in kinds.items():
        found = features[key].WhichOneof("kind") if key in features else None
        if found is None:  # to TensorFlow, too, a field without a kind is missing
            continue
        if found != kind:
            return f"its {key} is of kind {found}, not {kind}"
        if (count := len(getattr(features[key], kind).value)) != 1:
            return f"its {key} holds {count} values, not one"
    return None


def serialize_example(encoded: bytes, image_id: str, label: int | None = None) -> bytes:
    """One record's bytes; the same arguments give the same bytes. `label` None leaves the field out."""
    message = _example_class()()
    features = message.features.feature
    features[IMAGE_ENCODED].bytes_list.value.append(encoded)
    features[IMAGE_ID].bytes_list.value.append(image_id.encode("utf-8"))
    if label is not None:
        features[IMAGE_LABEL].int64_list.value.append(label)
    return bytes(message.SerializeToString(deterministic=True))
