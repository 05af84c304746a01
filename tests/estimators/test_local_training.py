"""A run in this process, from its front door."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sys
from pathlib import Path

import pytest

from estimators import local_training
from estimators.errors import InfrastructureError, UserError
from estimators.evaluation.evaluation_identity import made_with
from estimators.experiment_options import ExperimentOptions
from estimators.local_training import train_locally
from estimators.processes.child_process import ChildProcess
from estimators.train_dir.run_state import RunState, read_run_state
from tests.estimators.evaluated_run import validation
from tests.estimators.small_run import small_options, train

pytestmark = pytest.mark.filterwarnings(r"ignore:`tf\.layers\.")
MODELS = "tests.estimators.sample_models"

BROKEN = """
import tensorflow as tf
from estimators import BaseModel

class BrokenWhenEvaluated(BaseModel):
    def create_model(self, model_input, num_classes=2, is_training=True, **params):
        if not is_training:
            raise ValueError("no mode but training was thought of")
        return {"predictions": tf.compat.v1.layers.dense(tf.compat.v1.layers.flatten(model_input), 1)}
"""


def _train_locally(options: ExperimentOptions, *, start_new_model: bool = False, timeout_secs: float = 600.0) -> None:
    train_locally(options, start_new_model=start_new_model, final_evaluation_timeout_secs=timeout_secs)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"model": "broken_models:BrokenWhenEvaluated"}, "to eval: ValueError"),
        ({"model": f"{MODELS}:NoPredictions"}, "returns no predictions"),
        ({"model": f"{MODELS}:ThreeColumns"}, "wrong shape"),
        ({"label_loss": f"{MODELS}:VectorLoss"}, "no scalar loss"),
        ({"label_loss": "SoftmaxLoss"}, "SoftmaxLoss does not fit LogisticModel"),
        ({"model": "CnnModel", "image_size": 16, "warm_start_from": "other"}, "has no variable of this model"),
    ],
)
def test_what_cannot_be_built_is_told_before_the_run_that_was_there_is_deleted(
    values: dict[str, object], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "broken_models", raising=False)
    (tmp_path / "broken_models.py").write_text(BROKEN)
    train(small_options(tmp_path, train_dir=str(tmp_path / "first"), max_steps=1))
    shutil.copytree(tmp_path / "first", tmp_path / "other")
    options = small_options(tmp_path, train_dir=str(tmp_path / "first"), **values)
    before = contents(tmp_path / "first")
    with pytest.raises(UserError, match=told):
        _train_locally(options, start_new_model=True)
    assert contents(tmp_path / "first") == before
    with pytest.raises(UserError, match=told):
        _train_locally(small_options(tmp_path, train_dir=str(tmp_path / "new"), **values))
    assert not (tmp_path / "new").exists()


def test_the_evaluator_beside_a_run_leaves_the_gpus_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    found: dict[str, str] = {}
    monkeypatch.setattr(local_training, "ChildProcess", lambda argv, *, env: found.update(env))
    local_training._start_evaluator(small_options(tmp_path))
    assert found["CUDA_VISIBLE_DEVICES"] == "-1"


def test_an_evaluator_that_hangs_ends_with_its_time_and_the_run_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung: list[ChildProcess] = []

    def start(options: ExperimentOptions) -> ChildProcess:
        hung.append(ChildProcess([sys.executable, "-c", "import time; time.sleep(600)"], env={}))
        return hung[0]

    monkeypatch.setattr(local_training, "_start_evaluator", start)
    options = small_options(tmp_path, eval_data_pattern=str(tmp_path / "data" / "validation-*"), max_steps=1)
    with pytest.raises(InfrastructureError, match="last checkpoint is not evaluated") as caught:
        _train_locally(options, timeout_secs=0.5)
    assert "after --final_evaluation_timeout_secs" in caught.value.found and "launch.eval" in caught.value.change
    assert hung[0].exit_code() == -signal.SIGKILL
    # Numbers of other data, from before the run was continued with these, do not count.
    for data, fits in (("another", False), (made_with(options, validation(options).paths)["eval_data"], True)):
        (Path(options.train_dir) / "eval").mkdir(exist_ok=True)
        row = json.dumps({"global_step": 1, "label_loss": options.label_loss, "eval_data": data})
        (Path(options.train_dir) / "eval" / "metrics.jsonl").write_text(row + "\n")
        with contextlib.nullcontext() if fits else pytest.raises(InfrastructureError, match="is not evaluated"):
            local_training.check_last_evaluated(options, validation(options), "it hung")
    record = read_run_state(options.train_dir)
    assert record is not None and record.state is RunState.FAILED


def test_a_second_ctrl_c_stops_a_run_and_does_not_make_it_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("estimators.experiment.Experiment.train", interrupt)
    options = small_options(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        _train_locally(options)
    record = read_run_state(options.train_dir)
    assert record is not None and record.state is RunState.STOPPED
