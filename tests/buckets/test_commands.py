"""Whole commands on a bucket: data, train_dir and output lie there, for TensorFlow as for us."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estimators import storage
from tests.buckets.emulator import Emulator
from tests.integration.commands import run_command
from tests.integration.shards import good_records, write_shard

_RECORDS = 48


def put(local: Path, target: str) -> None:
    with storage.written_whole(target) as file:
        file.write(local.read_bytes())


def copy_back(folder: str, local: Path) -> None:
    """All that lies in a folder of a bucket, in a local one."""
    for name in storage.names_below(folder):
        target = local / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            with storage.open_binary(f"{folder}/{name}") as file:
                target.write_bytes(file.read())


@pytest.fixture
def data(bucket: str, tmp_path: Path) -> str:
    """`gs://…/data` with train/, validation/ and test/; the same lie in tmp_path."""
    for split in ("train", "validation", "test"):
        for shard in range(2):
            local = write_shard(tmp_path / split / f"{split}-{shard}", good_records(_RECORDS)[shard::2])
            put(local, f"{bucket}/data/{split}/{split}-{shard}")
    return f"{bucket}/data"


def test_a_run_in_a_bucket_is_trained_evaluated_continued_and_predicted_with(
    emulator: Emulator, bucket: str, data: str, tmp_path: Path
) -> None:
    run = f"{bucket}/run"

    def command(module: str, *flags: str) -> list[str]:
        done = run_command(module, *flags, env=emulator.environment, timeout=400)
        assert done.code == 0, done.output
        assert done.left_behind() == []
        return done.lines

    training = (
        f"--train_data_pattern={data}/train/*", f"--train_dir={run}", "--model=LogisticModel", "--batch_size=16",
        "--save_checkpoints_steps=4", "--image_size=8",
    )  # fmt: skip
    command(
        "launch.train", *training, f"--eval_data_pattern={data}/validation/*", "--num_epochs=3", "--start_new_model"
    )
    rows = [json.loads(line) for line in storage.read_text(f"{run}/eval/metrics.jsonl").splitlines()]
    assert [row["global_step"] for row in rows] == [0, 4, 8, 9]
    names = storage.list_dir(run)
    assert "model.ckpt-9.index" in names and not {"run_lock.json", "torn"} & set(names)
    assert not [name for name in storage.names_below(run) if storage.is_hidden_partial(Path(name).name)]

    command("launch.train", *training, "--num_epochs=6")  # goes on at step 9
    command("launch.eval", f"--train_dir={run}", f"--eval_data_pattern={data}/validation/*", "--run_once")
    rows = [json.loads(line) for line in storage.read_text(f"{run}/eval/metrics.jsonl").splitlines()]
    assert rows[-1]["global_step"] == 18
    told = "\n".join(command("launch.status", f"--train_dir={run}"))
    assert "SUCCEEDED" in told and "18 of 18" in told and "exported step 18" in told

    output = f"{bucket}/out/submission.csv"
    command("launch.inference", f"--train_dir={run}", f"--input_data_pattern={data}/test/*", f"--output_file={output}")
    copy_back(f"{run}/export/step_18", tmp_path / "step_18")
    command(
        "launch.inference", f"--model_dir={tmp_path}/step_18", f"--input_data_pattern={tmp_path}/test/*",
        f"--output_file={tmp_path}/submission.csv",
    )  # fmt: skip
    assert storage.read_text(output) == (tmp_path / "submission.csv").read_text()
    assert storage.list_dir(f"{bucket}/out") == ["submission.csv", "submission.csv.json"]


@pytest.mark.slow
def test_two_workers_and_an_evaluator_share_a_train_dir_in_a_bucket(emulator: Emulator, bucket: str, data: str) -> None:
    run = f"{bucket}/run"
    done = run_command(
        "launch.train", "--strategy=multi_worker_mirrored", "--num_workers=2", f"--train_dir={run}",
        f"--train_data_pattern={data}/train/*", f"--eval_data_pattern={data}/validation/*", "--model=LogisticModel",
        "--batch_size=8", "--image_size=8", "--num_epochs=2", env=emulator.environment, timeout=400,
    )  # fmt: skip
    assert done.code == 0, done.output
    assert done.left_behind() == []
    rows = [json.loads(line) for line in storage.read_text(f"{run}/eval/metrics.jsonl").splitlines()]
    assert rows[-1]["global_step"] == 6 and storage.exists(f"{run}/export/step_6/saved_model.pb")
    told = [json.loads(line)["event"] for line in storage.read_text(f"{run}/events.jsonl").splitlines()]
    assert told.count("first_step") == 2 and told[-1] == "run_ended"
    # The log of each role lies there too.
    assert {"chief-0.log", "worker-0.log", "evaluator-0.log"} <= set(storage.list_dir(f"{run}/logs"))


@pytest.mark.slow
def test_from_photos_to_the_csv_nothing_lies_on_a_disk_of_ones_own(
    emulator: Emulator, bucket: str, tmp_path: Path
) -> None:
    def command(module: str, *flags: str) -> str:
        done = run_command(module, *flags, env=emulator.environment, timeout=400)
        assert done.code == 0, done.output
        assert done.left_behind() == []
        return done.output

    command(
        "launch.prepare_data", "--synthetic=60", f"--output={bucket}/data", "--test_fraction=0.2",
        "--validation_fraction=0.2", "--num_shards=3",
    )  # fmt: skip
    told = command("launch.prepare_data", f"--check={bucket}/data")
    assert "60" in told, told
    command(
        "launch.train", "--strategy=parameter_server", "--num_workers=2", "--num_parameter_servers=1",
        f"--train_data_pattern={bucket}/data/train/*", f"--eval_data_pattern={bucket}/data/validation/*",
        f"--train_dir={bucket}/run", "--model=LogisticModel", "--image_size=8", "--batch_size=4", "--max_steps=12",
    )  # fmt: skip
    rows = [json.loads(line) for line in storage.read_text(f"{bucket}/run/eval/metrics.jsonl").splitlines()]
    assert 12 <= rows[-1]["global_step"] <= 13
    predict = (f"--train_dir={bucket}/run", f"--input_data_pattern={bucket}/data/test/*")
    command("launch.inference", *predict, f"--output_path={bucket}/results")
    command("launch.inference", *predict, f"--output_file={bucket}/direct.csv")
    command(
        "launch.convert_prediction_from_json_to_csv", f"--csv_output_file={bucket}/converted.csv",
        f"--json_prediction_files_pattern={bucket}/results/prediction.results-*",
    )  # fmt: skip
    assert storage.read_text(f"{bucket}/converted.csv") == storage.read_text(f"{bucket}/direct.csv")
    assert len(storage.read_text(f"{bucket}/direct.csv").splitlines()) == 13
