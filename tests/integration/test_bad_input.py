"""Each mistake gets one clear message, no traceback, an exit code that is not 0, and nothing is written or lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from estimators.records.record_schema import serialize_example
from tests.integration.commands import Finished, run_command
from tests.integration.shards import good_records, jpeg, write_shard

CLUSTER = ("--strategy=multi_worker_mirrored", "--num_workers=2")
LOCAL_AND_SLOW_CLUSTER = [pytest.param((), id="local"), pytest.param(CLUSTER, id="cluster", marks=pytest.mark.slow)]


def _no_tfrecord(folder: Path) -> None:
    (folder / "train-1").write_text("id,label\n1.jpg,0\n" * 100)


def _no_label(folder: Path) -> None:
    write_shard(folder / "train-1", [serialize_example(jpeg(1), "unlabelled.jpg")])


def _no_picture(folder: Path) -> None:
    write_shard(folder / "train-1", [serialize_example(b"\xff\xd8\xff not a picture", "broken.jpg", 1)])


def _label_outside(folder: Path) -> None:
    write_shard(folder / "train-1", [serialize_example(jpeg(1), "seven.jpg", 7)])


def _cut_short(folder: Path) -> None:
    path = write_shard(folder / "train-1", good_records(4))
    path.write_bytes(path.read_bytes()[:-10])


def _nothing(folder: Path) -> None:
    pass


DATA_MISTAKES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "a file that is no TFRecord": (_no_tfrecord, ("train-1", "at byte 0")),
    "a record without a label": (_no_label, ("train-1", "unlabelled.jpg", "image/class/label")),
    "a picture that does not decode": (_no_picture, ("train-1", "broken.jpg", "does not decode")),
    "a label outside the classes": (_label_outside, ("seven.jpg", "--num_classes")),
    "a file cut short": (_cut_short, ("train-1", "cut short")),
}

FLAG_MISTAKES: dict[str, tuple[tuple[str, ...], tuple[str, ...], int]] = {
    "no file matches": (
        ("--train_data_pattern=/nowhere/*",),
        ("No file matches", "/nowhere", "--train_data_pattern"),
        2,
    ),
    "an empty pattern": (("--train_data_pattern=",), ("--train_data_pattern is empty",), 2),
    "no evaluation file matches": (("--eval_data_pattern=/nowhere/*",), ("--eval_data_pattern",), 2),
    "an unknown model": (("--model=Logistic",), ("No model 'Logistic'", "CnnModel", "LogisticModel", "--model"), 2),
    "an unknown loss": (("--label_loss=Foo",), ("No label loss 'Foo'", "CrossEntropyLoss", "--label_loss"), 2),
    "a loss beside one of the model's own": (
        ("--model=tests.estimators.sample_models:NanLossInStep10", "--label_loss=CrossEntropyLoss"),
        ("NanLossInStep10 returns a loss of its own", "--label_loss=CrossEntropyLoss", "leave --label_loss out"),
        2,
    ),
    "a decay beside a cosine": (
        ("--learning_rate_schedule=cosine", "--learning_rate_decay=0.9"),
        ("--learning_rate_decay does nothing", "--learning_rate_schedule=cosine"),
        2,
    ),
    "a module that is not there": (("--model=nowhere:Model",), ("No module 'nowhere'", "--model"), 2),
    "a class that is no model": (("--model=json:JSONDecoder",), ("not a BaseModel", "estimators.BaseModel"), 2),
    "a flag that is not there": (("--modle=CnnModel",), ("--modle",), 2),
    "a batch of nothing": (("--batch_size=0",), ("--batch_size", "at least 1"), 2),
    "workers in one process": (("--num_workers=2",), ("--strategy=local", "--strategy=multi_worker_mirrored"), 2),
    "all GPUs of a machine without one": (("--strategy=mirrored",), ("sees no GPU", "--num_replicas=2"), 4),
    "nothing to start from": (("--warm_start_from=/nowhere",), ("--warm_start_from=/nowhere", "train_dir of a run"), 2),
    "never a checkpoint": (("--save_checkpoints_steps=0",), ("--save_checkpoints_secs",), 2),
    "a checkpoint every 0 seconds": (("--save_checkpoints_secs=0",), ("--save_checkpoints_secs", "greater than 0"), 2),
    "no parameter server": (("--strategy=parameter_server",), ("--num_parameter_servers",), 2),
    "more CPUs than there are": ((*CLUSTER, "--cpus_per_worker=1000"), ("1000", "--cpus_per_worker", "chief-0"), 4),
    "GPUs that are not there": ((*CLUSTER, "--gpus_per_worker=4"), ("4 GPUs", "--gpus_per_worker"), 4),
    "a cluster that is not there": (CLUSTER, ("RAY_ADDRESS=127.0.0.2:1",), 2),
}


def _train(folder: Path, *flags: str, env: dict[str, str] | None = None) -> Finished:
    # The flags of a test come last: the last of two equal flags counts.
    return run_command(
        "launch.train",
        f"--train_data_pattern={folder}/train-*",
        f"--train_dir={folder}/run",
        "--batch_size=4",
        "--max_steps=30",
        "--image_size=16",
        "--save_checkpoints_steps=5",
        *flags,
        env=env,
    )


def _assert_told(output: str, wanted: tuple[str, ...]) -> None:
    assert "Traceback" not in output, output
    assert output.count("error: ") == 1, output
    for text in wanted:
        assert text in output, (text, output)


@pytest.mark.parametrize("mistake", DATA_MISTAKES)
@pytest.mark.parametrize("strategy", LOCAL_AND_SLOW_CLUSTER)
def test_a_damaged_data_set_is_told_before_anything_is_written(
    mistake: str, strategy: tuple[str, ...], tmp_path: Path
) -> None:
    write_shard(tmp_path / "train-0", good_records(8))
    make, wanted = DATA_MISTAKES[mistake]
    make(tmp_path)
    done = _train(tmp_path, *strategy)
    assert done.code == 2
    _assert_told(done.output, wanted)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mistake", FLAG_MISTAKES)
def test_a_wrong_flag_is_told_before_anything_is_written(mistake: str, tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0", good_records(8))
    flags, wanted, code = FLAG_MISTAKES[mistake]
    env = {"RAY_ADDRESS": "127.0.0.2:1"} if mistake == "a cluster that is not there" else None
    done = _train(tmp_path, *flags, env=env)
    assert done.code == code, done.output
    _assert_told(done.output, wanted)
    assert not (tmp_path / "run").exists()


def test_start_new_model_leaves_a_folder_alone_that_is_no_training_folder(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0", good_records(8))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("three years")
    done = _train(tmp_path, "--start_new_model")
    assert done.code == 2
    _assert_told(done.output, ("--start_new_model", "nothing was deleted", "thesis.txt"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def _shards_with_damage_in_the_middle(folder: Path) -> None:
    bad = [
        serialize_example(b"\xff\xd8\xff nothing", "undecodable.jpg", 1),
        serialize_example(jpeg(3), "unlabelled.jpg"),
        serialize_example(jpeg(3), "seven.jpg", 7),
    ]
    write_shard(folder / "train-0", [*good_records(12), *bad, *good_records(12)])
    damaged = write_shard(folder / "train-1", good_records(10))
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 0xFF  # in the data of the fifth or sixth record
    damaged.write_bytes(bytes(data))


@pytest.mark.parametrize("strategy", LOCAL_AND_SLOW_CLUSTER)
def test_damage_met_later_ends_the_run_with_the_same_message_and_keeps_checkpoints(
    strategy: tuple[str, ...], tmp_path: Path
) -> None:
    bad = serialize_example(b"\xff\xd8\xff nothing", "undecodable.jpg", 1)
    for name in ("train-0", "train-1"):
        write_shard(tmp_path / name, [*good_records(400), bad])
    # Read as they come, so that steps are made before the damage is met.
    done = _train(tmp_path, "--cache=none", "--max_steps=500", *strategy)
    assert done.code == 2, done.output
    _assert_told(done.output, ("undecodable.jpg", "does not decode", "--on_bad_record=skip"))
    assert done.left_behind() == []
    assert list((tmp_path / "run").glob("model.ckpt-*.index")), "the checkpoints stay"


@pytest.mark.parametrize("strategy", LOCAL_AND_SLOW_CLUSTER)
def test_bad_records_are_skipped_and_counted_if_asked_for(strategy: tuple[str, ...], tmp_path: Path) -> None:
    _shards_with_damage_in_the_middle(tmp_path)
    done = _train(tmp_path, "--on_bad_record=skip", *strategy)
    assert done.code == 0, done.output
    for name in ("undecodable.jpg", "unlabelled.jpg", "seven.jpg", "train-1"):
        assert any("skipped a bad record" in line and name in line for line in done.lines), done.output
    assert "bad records skipped: " in done.output
    assert (tmp_path / "run" / "export" / "step_30").is_dir()


@pytest.mark.parametrize("strategy", LOCAL_AND_SLOW_CLUSTER)
def test_a_run_whose_newest_checkpoint_is_torn_goes_on_from_the_one_before(
    strategy: tuple[str, ...], tmp_path: Path
) -> None:
    write_shard(tmp_path / "train-0", good_records(40))
    run = tmp_path / "run"
    assert _train(tmp_path, "--max_steps=10").code == 0
    data = run / "model.ckpt-10.data-00000-of-00001"
    torn = data.read_bytes()[:-100]
    data.write_bytes(torn)
    done = _train(tmp_path, "--max_steps=15", *strategy)
    assert done.code == 0, done.output
    assert "the checkpoint of step 10 is torn: model.ckpt-10.data-00000-of-00001 is cut short" in done.output
    assert "training goes on from step 5" in done.output
    assert (run / "torn" / "1" / data.name).read_bytes() == torn
    assert (run / "model.ckpt-15.index").exists() and (run / "export" / "step_15").is_dir()


def test_a_run_of_which_no_checkpoint_is_sound_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0", good_records(40))
    assert _train(tmp_path, "--max_steps=5").code == 0
    for index in (tmp_path / "run").glob("model.ckpt-*.index"):
        index.write_bytes(b"garbage")
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    done = _train(tmp_path, "--max_steps=15")
    assert done.code == 2
    _assert_told(done.output, ("No checkpoint in --train_dir is sound", "model.ckpt-5.index", "--start_new_model"))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before
