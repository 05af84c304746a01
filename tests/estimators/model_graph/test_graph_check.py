"""The graph is built before a run begins; in a process of its own where the command has no TensorFlow."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from estimators.errors import InfrastructureError, UserError
from estimators.model_graph.graph_check import build_graph, graph_checked_beside
from tests.estimators.small_run import small_options

pytestmark = pytest.mark.filterwarnings(r"ignore:`tf\.layers\.")

BROKEN = """
import os
import tensorflow as tf
from estimators import BaseModel

class Broken(BaseModel):
    def create_model(self, model_input, num_classes=2, is_training=True, **params):
        net = tf.compat.v1.layers.flatten(model_input)
        return {"predictions": self.head(net)}

    def head(self, net):
        raise KeyError("the author forgot something")

class BrokenWhenEvaluated(Broken):
    def head(self, net):
        return tf.compat.v1.layers.dense(net, 1, activation=tf.nn.sigmoid)

    def create_model(self, model_input, num_classes=2, is_training=True, **params):
        if not is_training:
            raise ValueError("no mode but training was thought of")
        return super().create_model(model_input)

class Dies(Broken):
    def head(self, net):
        os.kill(os.getpid(), 9)
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "broken_models", raising=False)
    (tmp_path / "broken_models.py").write_text(BROKEN)


@pytest.mark.parametrize("model", ["LogisticModel", "CnnModel", "MoeModel", "ResNetModel"])
def test_the_models_that_come_with_the_project_build(tmp_path: Path, model: str) -> None:
    build_graph(small_options(tmp_path, model=model, image_size=32))


def test_an_error_of_the_model_is_told_with_its_own_lines(tmp_path: Path, broken: None) -> None:
    with pytest.raises(UserError) as caught:
        build_graph(small_options(tmp_path, model="broken_models:Broken"))
    assert "cannot be built, to train: KeyError" in caught.value.summary
    assert "--model=broken_models:Broken" in caught.value.asked
    lines = caught.value.found.splitlines()
    assert "broken_models.py" in lines[0] and lines[-1] == "KeyError: 'the author forgot something'"
    assert "model_fn.py" not in caught.value.found


def test_a_model_that_builds_for_training_alone_is_told(tmp_path: Path, broken: None) -> None:
    with pytest.raises(UserError, match="to eval: ValueError"):
        build_graph(small_options(tmp_path, model="broken_models:BrokenWhenEvaluated"))


def test_a_loss_of_its_own_that_evaluation_does_not_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a loss in training and none in evaluation") as caught:
        build_graph(small_options(tmp_path, model="tests.estimators.sample_models:OwnLossInTrainingAlone"))
    assert "keys ['predictions']" in caught.value.found


@pytest.mark.parametrize("label_loss", ["CrossEntropyLoss", "HingeLoss"])
def test_a_loss_that_was_asked_for_beside_one_of_the_models_own_is_refused(tmp_path: Path, label_loss: str) -> None:
    model = "tests.estimators.sample_models:NanLossInStep10"
    build_graph(small_options(tmp_path, model=model, label_loss=label_loss))
    with pytest.raises(UserError, match=f"{model} returns a loss of its own") as caught:
        build_graph(small_options(tmp_path, model=model, label_loss=label_loss, label_loss_given=True))
    assert f"--label_loss={label_loss}" in caught.value.asked and "leave --label_loss out" in caught.value.change
    build_graph(small_options(tmp_path, label_loss=label_loss, label_loss_given=True))


def test_model_and_loss_that_do_not_fit_are_told_by_the_process_beside_in_the_same_words(tmp_path: Path) -> None:
    options = small_options(tmp_path, model="LogisticModel", label_loss="SoftmaxLoss")
    with (
        pytest.raises(UserError, match="SoftmaxLoss does not fit LogisticModel") as caught,
        graph_checked_beside(options) as graph_is_built,
    ):
        graph_is_built()
    assert "--label_loss" in caught.value.change


def test_a_process_that_dies_is_told_and_one_that_nobody_waits_for_is_ended(tmp_path: Path, broken: None) -> None:
    options = small_options(tmp_path, model="broken_models:Dies")
    with pytest.raises(InfrastructureError, match="exit code -9"), graph_checked_beside(options) as graph_is_built:
        graph_is_built()
    with graph_checked_beside(options):
        children = psutil.Process(os.getpid()).children()
        assert any("estimators.model_graph.graph_check" in " ".join(child.cmdline()) for child in children)
    assert not [
        c
        for c in psutil.Process(os.getpid()).children()
        if "estimators.model_graph.graph_check" in " ".join(c.cmdline())
    ]
