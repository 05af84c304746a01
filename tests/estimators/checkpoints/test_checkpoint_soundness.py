"""Soundness is read without TensorFlow, so what TensorFlow wrote is the judge of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from estimators.checkpoints.checkpoint_soundness import flaw_of
from tests.estimators.made_checkpoints import MAGIC, write_checkpoint


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of a checkpoint with 700 variables of several kinds, one of them in two slices, in one data file."""
    import tensorflow as tf

    prefix = tmp_path_factory.mktemp("written") / "model.ckpt-7"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for i in range(700):
            tf.compat.v1.get_variable(f"layer_{i}/weights", [i % 7 + 1, 3])
        tf.compat.v1.get_variable("words", initializer=tf.constant(["a", "long words"]))
        tf.compat.v1.get_variable("nothing", [0])
        tf.compat.v1.get_variable("cut", [10, 10], partitioner=tf.compat.v1.fixed_size_partitioner(2))
        tf.compat.v1.train.get_or_create_global_step()
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(sharded=True).save(session, str(prefix))
    return prefix


@pytest.fixture
def checkpoint(written: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    for path in written.parent.glob("model.ckpt-7.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / written.name


def test_what_tensorflow_wrote_is_sound(checkpoint: Path) -> None:
    assert flaw_of(str(checkpoint)) is None


@pytest.mark.parametrize("shards", [1, 3])
def test_what_the_tests_make_is_what_tensorflow_would_read(tmp_path: Path, shards: int) -> None:
    import tensorflow as tf

    write_checkpoint(tmp_path, 7, shards=shards)
    assert flaw_of(f"{tmp_path}/model.ckpt-7") is None
    names = tf.train.load_checkpoint(f"{tmp_path}/model.ckpt-7").get_variable_to_shape_map()
    assert sorted(names) == [f"variable_{shard}" for shard in range(shards)]


def _without_end(data: bytes) -> bytes:
    return data[:-100]


def _nothing(data: bytes) -> bytes:
    return b""


def _zeros(data: bytes) -> bytes:
    return bytes(len(data))


def _garbage(data: bytes) -> bytes:
    return b"<html>404</html>" * 600


def _one_bit(data: bytes) -> bytes:
    return data[:500] + bytes([data[500] ^ 4]) + data[501:]


INDEX, DATA = "index", "data-00000-of-00001"


@pytest.mark.parametrize("suffix", [INDEX, DATA])
@pytest.mark.parametrize("damage", [_without_end, _nothing, _zeros, _garbage, _one_bit])
def test_a_damaged_file_is_named_and_tensorflow_agrees(
    checkpoint: Path, suffix: str, damage: Callable[[bytes], bytes]
) -> None:
    import tensorflow as tf

    path = checkpoint.with_name(f"{checkpoint.name}.{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    flaw = flaw_of(str(checkpoint))
    assert flaw is not None and flaw.startswith(f"{path.name} is ")

    def read_all() -> None:
        reader = tf.train.load_checkpoint(str(checkpoint))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)

    with pytest.raises((tf.errors.OpError, IndexError, ValueError)):
        read_all()


@pytest.mark.parametrize("suffix", [INDEX, DATA])
def test_a_missing_file_is_named(checkpoint: Path, suffix: str) -> None:
    checkpoint.with_name(f"{checkpoint.name}.{suffix}").unlink()
    assert flaw_of(str(checkpoint)) == f"{checkpoint.name}.{suffix} is missing"


def test_any_byte_of_the_index_that_is_not_as_it_was_is_found(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 7)
    path = tmp_path / "model.ckpt-7.index"
    whole = path.read_bytes()
    padding = whole[: -len(MAGIC)].rstrip(b"\0")  # nobody reads the zeros between the footer's two parts
    for position in [*range(len(padding)), *range(len(whole) - len(MAGIC), len(whole))]:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        assert flaw_of(f"{tmp_path}/model.ckpt-7") is not None, position
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert flaw_of(f"{tmp_path}/model.ckpt-7") is not None, size
