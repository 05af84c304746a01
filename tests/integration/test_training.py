"""Each strategy trains for real: processes, TensorFlow servers, Ray, photos."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psutil
import pytest

from tests.integration.commands import Finished, run_command, running_command
from tests.integration.shards import good_records, write_shard

STRATEGIES = {
    "local": (),
    "mirrored": ("--strategy=mirrored", "--num_replicas=2"),
    "parameter_server": ("--strategy=parameter_server", "--num_workers=2", "--num_parameter_servers=1"),
    "multi_worker_mirrored": ("--strategy=multi_worker_mirrored", "--num_workers=2"),
}
TRAINING_LINE = re.compile(
    r"training step \d+ \| Loss: \d+\.\d\d Examples/sec: \d+\.\d\d \| Hit@1: \d\.\d\d PERR: \d\.\d\d GAP: \d\.\d\d"
)
EVAL_LINE = re.compile(
    r"(\[evaluator-0\] )?examples_processed: 300 \| global_step \d+ \| Batch Hit@1: \d\.\d{3} \| "
    r"Batch PERR: \d\.\d{3} \| Batch Loss: \d+\.\d{3} \| Examples_per_sec: \d+\.\d{3}"
)


def _train(photos: Path, train_dir: Path, *flags: str, **kwargs: object) -> Finished:
    data = photos / "catsvsdogs"
    return run_command(
        "launch.train",
        f"--train_data_pattern={data}/train/*",
        f"--train_dir={train_dir}",
        "--model=CnnModel",
        "--batch_size=64",
        *flags,
        **kwargs,  # type: ignore[arg-type]
    )


def _metrics(train_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (train_dir / "eval" / "metrics.jsonl").read_text().splitlines()]


def _logs(train_dir: Path) -> str:
    return "\n".join(f"=== {path.name}\n{path.read_text()[-2000:]}" for path in sorted(train_dir.glob("logs/*")))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_trains_evaluates_exports_and_leaves_nothing(strategy: str, photos: Path, tmp_path: Path) -> None:
    train_dir = tmp_path / "run"
    done = _train(
        photos,
        train_dir,
        f"--eval_data_pattern={photos}/catsvsdogs/validation/*",
        "--max_steps=40",
        "--save_checkpoints_steps=15",
        "--keep_checkpoint_max=1",
        "--export_model_steps=30",
        "--start_new_model",
        *STRATEGIES[strategy],
    )
    told = f"{done.output}\n{_logs(train_dir)}"
    assert done.code == 0, told
    assert "Traceback" not in done.output, told

    training_lines = [line for line in done.lines if line.startswith("training step")]
    # An asynchronous worker may make most of the steps, and the chief alone writes lines.
    assert len(training_lines) >= (1 if strategy == "parameter_server" else 3), told
    assert all(TRAINING_LINE.fullmatch(line) for line in training_lines), told
    assert any(EVAL_LINE.fullmatch(line) for line in done.lines), told

    # Asynchronous workers pass the last step by up to num_workers - 1.
    last = max(row["global_step"] for row in _metrics(train_dir))
    assert last == 40 or (strategy == "parameter_server" and 40 <= last <= 41), told
    steps = [row["global_step"] for row in _metrics(train_dir)]
    assert steps == sorted(set(steps)), "each checkpoint is evaluated once, oldest first"
    # An asynchronous chief saves and exports in its own steps; on a busy machine its worker may make all between two.
    fewest, fewest_exports = (2, 1) if strategy == "parameter_server" else (4, 2)
    assert len(steps) >= fewest, told
    assert all(row["examples"] == 300 for row in _metrics(train_dir))

    exports = sorted(path.name for path in (train_dir / "export").iterdir())
    assert f"step_{last:.0f}" in exports and fewest_exports <= len(exports) <= 2, exports
    assert [path.name for path in train_dir.glob("*.index")] == [f"model.ckpt-{last:.0f}.index"], (
        "keep_checkpoint_max=1"
    )
    assert json.loads((train_dir / "run_state.json").read_text())["state"] == "SUCCEEDED"
    assert not list(train_dir.glob("tmp*")), "workers that are not the chief write elsewhere"
    assert list(train_dir.glob("events.out.tfevents.*")) and list((train_dir / "eval").glob("events.out.tfevents.*"))

    if strategy not in ("local", "mirrored"):
        (summary,) = [line for line in done.lines if line.startswith("steps made: ")]
        made = {name: int(steps) for name, steps in re.findall(r"(chief-0|worker-0) (\d+)", summary)}
        assert set(made) == {"chief-0", "worker-0"}
        if strategy == "multi_worker_mirrored":
            assert made == {"chief-0": 40, "worker-0": 40}
        else:
            assert min(made.values()) > 0 and sum(made.values()) >= 40, "each worker made steps"
    assert done.left_behind() == []


@pytest.mark.slow
def test_training_goes_on_where_it_ended_unless_it_is_begun_anew(photos: Path, tmp_path: Path) -> None:
    train_dir = tmp_path / "run"
    assert _train(photos, train_dir, "--max_steps=10").code == 0
    (train_dir / "notes.txt").write_text("mine")

    resumed = _train(photos, train_dir, "--max_steps=20", "--log_every_n_steps=1")
    assert resumed.code == 0, resumed.output
    steps = [int(step) for step in re.findall(r"training step (\d+)", resumed.output)]
    assert steps == list(range(11, 21))

    again = _train(photos, train_dir, "--max_steps=20")
    assert again.code == 0 and "nothing to train" in again.output

    other = _train(photos, train_dir, "--max_steps=20", "--model=LogisticModel")
    assert other.code == 2 and "holds checkpoints of another model" in other.output
    assert sorted(path.name for path in (train_dir / "export").iterdir()) == ["step_10", "step_20"]

    anew = _train(photos, train_dir, "--max_steps=5", "--model=LogisticModel", "--start_new_model")
    assert anew.code == 0, anew.output
    assert sorted(path.name for path in (train_dir / "export").iterdir()) == ["step_5"]
    assert (train_dir / "notes.txt").read_text() == "mine", "what no run wrote stays"


@pytest.mark.slow
def test_an_evaluator_that_is_killed_beside_a_local_run_has_a_successor(tmp_path: Path) -> None:
    data = tmp_path / "train"
    write_shard(data, good_records(64))
    flags = (
        f"--train_data_pattern={data}",
        f"--eval_data_pattern={data}",
        f"--train_dir={tmp_path}/run",
        "--model=tests.integration.chaos_models:SlowModel",
        "--batch_size=4",
        "--max_steps=100",
        "--save_checkpoints_steps=50",
        "--log_every_n_steps=1",
    )
    with running_command("launch.train", *flags) as (process, _):
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("training step "))
        (evaluator,) = [
            child
            for child in psutil.Process(process.pid).children()
            if "estimators.evaluation.evaluator_process" in child.cmdline()
        ]
        evaluator.kill()
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "was ended by SIGKILL; another one evaluates what is left" in output
    assert [row["global_step"] for row in _metrics(tmp_path / "run")][-1] == 100


@pytest.mark.slow
def test_evaluation_from_outside_sees_every_checkpoint_and_ends_with_the_run(photos: Path, tmp_path: Path) -> None:
    train_dir = tmp_path / "run"
    assert _train(photos, train_dir, "--max_steps=20", "--save_checkpoints_steps=10").code == 0
    flags = (f"--train_dir={train_dir}", f"--eval_data_pattern={photos}/catsvsdogs/validation/*")

    once = run_command("launch.eval", *flags, "--run_once")
    assert once.code == 0, once.output
    assert [row["global_step"] for row in _metrics(train_dir)] == [20]
    rest = run_command("launch.eval", *flags)
    assert rest.code == 0, rest.output
    assert [row["global_step"] for row in _metrics(train_dir)] == [20, 0, 10]
    assert re.search(r"epoch/eval number 10 \| Avg_Hit@1: \d\.\d{3} \| Avg_PERR", rest.output)


def test_a_python_error_in_a_role_is_what_the_user_reads(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "broken_model.py").write_text(
        "import os\n"
        "from estimators.cvd_models import LogisticModel\n"
        "class BrokenModel(LogisticModel):\n"
        "    def create_model(self, model_input, num_classes=2, is_training=True, **params):\n"
        "        if 'TF_CONFIG' in os.environ:  # not where the graph is built before the run begins\n"
        "            raise KeyError('the author forgot something')\n"
        "        return super().create_model(model_input, num_classes, is_training)\n"
    )
    done = _train(
        photos,
        tmp_path / "run",
        "--model=broken_model:BrokenModel",
        *STRATEGIES["multi_worker_mirrored"],
        cwd=tmp_path,
    )
    assert done.code == 2, done.output
    assert "the author forgot something" in done.output
    assert done.output.count("Traceback (most recent call last)") == 1, done.output
    assert json.loads((tmp_path / "run" / "run_state.json").read_text())["state"] == "FAILED"
    assert done.left_behind() == []


def test_a_model_that_does_not_build_is_told_before_start_new_model_deletes_anything(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken_model.py").write_text(
        "from estimators import BaseModel\n"
        "class BrokenModel(BaseModel):\n"
        "    def create_model(self, model_input, num_classes=2, is_training=True, **params):\n"
        "        raise KeyError('the author forgot something')\n"
    )
    run = tmp_path / "run"
    run.mkdir()
    (run / "experiment.json").write_text("{}")
    flags = ("--model=broken_model:BrokenModel", "--start_new_model", *STRATEGIES["multi_worker_mirrored"])
    done = _train(photos, run, *flags, cwd=tmp_path)
    assert done.code == 2 and "the author forgot something" in done.output, done.output
    assert "broken_model.py" in done.output and "model_fn.py" not in done.output
    assert [path.name for path in run.iterdir()] == ["experiment.json"] and done.left_behind() == []


def test_a_second_run_on_a_train_dir_is_refused_and_one_whose_command_was_killed_is_recognised(
    photos: Path, tmp_path: Path
) -> None:
    train_dir, data = tmp_path / "run", photos / "catsvsdogs"
    flags = (f"--train_data_pattern={data}/train/*", f"--train_dir={train_dir}", "--batch_size=64")
    with running_command("launch.train", *flags, "--max_steps=100000", *STRATEGIES["multi_worker_mirrored"]) as (
        first,
        mark,
    ):
        assert first.stdout is not None
        assert any(line.startswith("training step 10 ") for line in first.stdout)
        second = run_command("launch.train", *flags, "--start_new_model")
        assert second.code == 2 and f"process {first.pid} " in second.output, second.output
        status = run_command("launch.status", f"--train_dir={train_dir}")
        assert status.code == 0 and f"RUNNING: process {first.pid} on" in status.output, status.output
        assert re.search(r"^step +\d+ of 100000 ", status.output, re.M), status.output
        first.kill()
        assert Finished(0, "", mark).left_behind() == []
    assert json.loads((train_dir / "run_state.json").read_text())["state"] == "RUNNING"
    assert "KILLED: " in run_command("launch.status", f"--train_dir={train_dir}").output

    # The evaluation does not wait for ever for a run that is gone, and the same command goes on.
    rest = run_command("launch.eval", f"--train_dir={train_dir}", f"--eval_data_pattern={data}/validation/*")
    assert rest.code == 0, rest.output
    steps = sorted(int(path.name.split("-")[1].split(".")[0]) for path in train_dir.glob("model.ckpt-*.index"))
    assert [row["global_step"] for row in _metrics(train_dir)] == steps
    assert run_command("launch.train", *flags, f"--max_steps={steps[-1] + 5}").code == 0


@pytest.mark.slow
def test_a_model_whose_layers_changed_is_told_when_its_run_is_continued(photos: Path, tmp_path: Path) -> None:
    source = (
        "import tensorflow as tf\n"
        "from estimators import BaseModel\n"
        "class MyModel(BaseModel):\n"
        "    def create_model(self, model_input, num_classes=2, is_training=True, **params):\n"
        "        net = tf.compat.v1.layers.dense(tf.compat.v1.layers.flatten(model_input), UNITS)\n"
        "        return {'predictions': tf.compat.v1.layers.dense(net, 1, activation=tf.nn.sigmoid)}\n"
    )
    flags = ("--model=my_model:MyModel", "--max_steps=5")
    (tmp_path / "my_model.py").write_text(source.replace("UNITS", "128"))
    assert _train(photos, tmp_path / "run", *flags, cwd=tmp_path).code == 0
    (tmp_path / "my_model.py").write_text(source.replace("UNITS", "4"))
    changed = _train(photos, tmp_path / "run", "--model=my_model:MyModel", "--max_steps=9", cwd=tmp_path)
    assert changed.code == 2 and "Traceback" not in changed.output, changed.output
    assert "holds checkpoints of another model" in changed.output and "--start_new_model" in changed.output


def test_the_device_of_each_operation_is_printed_if_that_is_asked(tmp_path: Path) -> None:
    write_shard(tmp_path / "data", good_records(16))
    done = run_command(
        "launch.train",
        f"--train_data_pattern={tmp_path}/data",
        f"--train_dir={tmp_path}/run",
        "--max_steps=1",
        "--batch_size=8",
        "--log_device_placement",
    )
    assert done.code == 0, done.output
    assert any("weights" in line and "device:CPU:0" in line for line in done.lines), done.output
