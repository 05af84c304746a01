from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from estimators import BaseModel
from estimators.cvd_models import CnnModel, LogisticModel, MoeModel, ResNetModel
from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions
from estimators.inputs import augmentation
from estimators.inputs.augmentation import augmented
from estimators.losses import CrossEntropyLoss, HingeLoss, SoftmaxLoss
from estimators.model_graph.model_and_loss import check_calls, check_fit, check_scores
from estimators.model_graph.optimizers import learning_rate_at


class Scores(BaseModel):
    """Predicts logits."""

    predicts_probabilities = False

    def create_model(self, model_input: Any, num_classes: int = 2, is_training: bool = True, **params: Any) -> Any:
        raise AssertionError("not built here")


def options(**values: Any) -> ExperimentOptions:
    return ExperimentOptions(**{"train_dir": "/t", "train_data_pattern": "/d", **values})


@pytest.mark.parametrize(
    ("model", "loss", "columns", "fitting"),
    [
        (LogisticModel(), SoftmaxLoss(), 1, ("CrossEntropyLoss", "HingeLoss")),
        (Scores(), CrossEntropyLoss(), 3, ("HingeLoss", "SoftmaxLoss")),
    ],
)
def test_a_loss_that_does_not_fit_is_told_with_those_that_do(
    model: Any, loss: Any, columns: int, fitting: tuple[str, ...]
) -> None:
    with pytest.raises(UserError, match="does not fit") as caught:
        check_fit(options(), model, loss, columns)
    assert all(name in caught.value.change for name in fitting)
    assert type(loss).__name__ not in caught.value.change


def test_one_column_of_scores_is_refused() -> None:
    with pytest.raises(UserError, match="one column of scores"):
        check_scores(options(), Scores(), 1)


@pytest.mark.parametrize(("loss", "columns"), [(CrossEntropyLoss(), 1), (HingeLoss(), 3), (SoftmaxLoss(), 3)])
def test_pairs_that_fit_pass(loss: Any, columns: int) -> None:
    check_fit(options(), LogisticModel(), loss, columns)


def test_a_parameter_that_the_model_does_not_have_is_told_with_those_it_has() -> None:
    check_calls(options(model="MoeModel", model_params="num_mixtures=4"), MoeModel(), HingeLoss())
    with pytest.raises(UserError, match="no parameter mixtures") as caught:
        check_calls(options(model="MoeModel", model_params="mixtures=4"), MoeModel(), HingeLoss())
    assert "num_mixtures" in caught.value.found


def test_a_model_of_ones_own_reads_any_parameter_if_it_takes_any() -> None:
    class Closed(Scores):
        def create_model(  # type: ignore[override]
            self, model_input: Any, num_classes: int = 2, is_training: bool = True, width: int = 3
        ) -> Any:
            raise AssertionError("not built here")

    check_calls(options(model="mine:Scores", model_params="anything=4"), Scores(), HingeLoss())
    check_calls(options(model="mine:Closed", model_params="width=4"), Closed(), HingeLoss())
    with pytest.raises(UserError, match="no parameter anything") as caught:
        check_calls(options(model="mine:Closed", model_params="anything=4"), Closed(), HingeLoss())
    assert caught.value.found == "its parameters are width"


def test_a_parameter_that_is_misspelt_is_told_though_the_model_takes_any() -> None:
    class Net(Scores):
        def create_model(
            self, model_input: Any, num_classes: int = 2, is_training: bool = True, filters: int = 16, **params: Any
        ) -> Any:
            raise AssertionError("not built here")

    with pytest.raises(UserError, match="no parameter filtres") as caught:
        check_calls(options(model="mine:Net", model_params="filtres=24,depth=3"), Net(), HingeLoss())
    assert caught.value.found == "its parameters are filters"
    check_calls(options(model="mine:Net", model_params="filters_2=24,filters3=3,depth=3"), Net(), HingeLoss())


def test_methods_that_cannot_be_called_are_told_with_the_arguments_they_need() -> None:
    class Short(Scores):
        def create_model(self, model_input: Any) -> Any:  # type: ignore[override]
            raise AssertionError("not built here")

    class Longer(HingeLoss):
        def calculate_loss(self, predictions: Any, labels: Any, weights: Any, **params: Any) -> Any:  # type: ignore[override]
            raise AssertionError("not called here")

    with pytest.raises(UserError, match=r"mine:Short.create_model does not take") as caught:
        check_calls(options(model="mine:Short"), Short(), HingeLoss())
    assert "num_classes" in caught.value.found
    assert caught.value.change == "def create_model(self, model_input, num_classes=2, is_training=True, **params)"
    with pytest.raises(UserError, match=r"mine:Longer.calculate_loss does not take") as caught:
        check_calls(options(label_loss="mine:Longer"), LogisticModel(), Longer())
    assert "weights" in caught.value.found and "(self, predictions, labels, **params)" in caught.value.change


class WantsFilters(BaseModel):
    def create_model(  # type: ignore[override]
        self, model_input: Any, num_classes: int, is_training: bool, filters: int
    ) -> dict[str, Any]:
        return {}


def test_a_hyper_parameter_without_a_default_is_taken_from_model_params() -> None:
    given = options(model="mine:WantsFilters", model_params="filters=24")
    check_calls(given, WantsFilters(), CrossEntropyLoss())
    with pytest.raises(UserError, match="does not take the arguments") as caught:
        check_calls(options(model="mine:WantsFilters"), WantsFilters(), CrossEntropyLoss())
    assert "'filters'" in caught.value.found


@pytest.mark.parametrize("name", ["num_classes", "is_training", "model_input"])
def test_what_every_model_is_called_with_is_no_hyper_parameter(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is not a hyper-parameter"):
        check_calls(options(model="mine:CnnModel", model_params=f"{name}=3"), CnnModel(), CrossEntropyLoss())


def test_model_params_are_read_as_numbers_where_they_look_like_some() -> None:
    parsed = options(model_params="layers=3,rate=0.5,norm=true,name=wide").parsed_model_params()
    assert parsed == {"layers": 3, "rate": 0.5, "norm": True, "name": "wide"}
    for text in ("layers", "layers=", "=3", "layers=3,layers=4"):
        with pytest.raises(UserError, match="--model_params cannot be read"):
            options(model_params=text)


def test_hinge_loss_by_hand() -> None:
    labels = np.array([[1.0], [0.0], [0.0]], np.float32)
    predictions = np.array([[0.25], [0.5], [-2.0]], np.float32)
    assert float(HingeLoss().calculate_loss(predictions, labels)) == pytest.approx((0.75 + 1.5 + 0.0) / 3)


def test_softmax_loss_by_hand_and_with_large_scores() -> None:
    labels = np.array([[1.0, 0.0], [1.0, 1.0]], np.float32)
    scores = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
    two = -(np.log(np.e / (np.e + 1)) + np.log(1 / (np.e + 1))) / 2
    assert float(SoftmaxLoss().calculate_loss(scores, labels)) == pytest.approx((np.log(2) + two) / 2, rel=1e-6)
    large = np.array([[1e4, -1e4], [1e4, -1e4]], np.float32)
    assert float(SoftmaxLoss().calculate_loss(large, labels)) == pytest.approx(5_000)


@pytest.mark.parametrize("model", [LogisticModel(), CnnModel(), MoeModel(), ResNetModel()])
@pytest.mark.parametrize(("num_classes", "columns"), [(2, 1), (3, 3)])
def test_a_built_in_model_predicts_probabilities_of_the_right_shape(model: Any, num_classes: int, columns: int) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        pictures = tf.random.uniform([5, 32, 32, 3], -1, 1)
        predictions = model.create_model(pictures, num_classes=num_classes)["predictions"]
        session.run(tf.compat.v1.global_variables_initializer())
        values = session.run(predictions)
    assert values.shape == (5, columns) and (values > 0).all() and (values < 1).all()


def test_a_mixture_without_experts_to_choose_from_predicts_less_than_its_experts() -> None:
    # The gate shares its weight with an expert that predicts 0: with zero weights, 2/3 * sigmoid(0).
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        predictions = MoeModel().create_model(tf.zeros([1, 8, 8, 3]), num_mixtures=2)["predictions"]
        session.run(tf.compat.v1.global_variables_initializer())
        assert session.run(predictions)[0, 0] == pytest.approx(1 / 3)


@pytest.mark.parametrize("num_mixtures", [0, -1, 1.5])
def test_a_mixture_of_no_experts_is_refused(num_mixtures: float) -> None:
    with tf.Graph().as_default(), pytest.raises(UserError, match="one expert at least"):
        MoeModel().create_model(tf.zeros([1, 8, 8, 3]), num_mixtures=num_mixtures)  # type: ignore[arg-type]


def test_the_cosine_schedule_ends_at_zero() -> None:
    values = options(learning_rate_schedule="cosine", base_learning_rate=0.4)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        rates = [
            session.run(learning_rate_at(tf.constant(step, tf.int64), values, examples_per_step=8, max_steps=100))
            for step in (0, 50, 100, 120)
        ]
    assert rates == pytest.approx([0.4, 0.2, 0.0, 0.0], abs=1e-7)


def _augmented_alone(monkeypatch: pytest.MonkeyPatch, picture: Any, kind: str, copies: int = 12) -> Any:
    """Copies of a picture [H, W, 3], changed in one way alone."""
    sizes = {"_SMALLEST_CROP": 1.0, "_LARGEST_CROP": 1.0, "_LIGHT": 0.0, "_CONTRAST": 0.0, "_COLOUR": 0.0}
    kept = {"crops": {"_SMALLEST_CROP", "_LARGEST_CROP"}, "light": {"_LIGHT"}, "contrast": {"_CONTRAST"}}
    for name in set(sizes) - kept.get(kind, {"_COLOUR"} if kind == "colour" else set()):
        monkeypatch.setattr(augmentation, name, sizes[name])
    return augmented(tf.constant(np.repeat(picture[None], copies, axis=0)), 1).numpy()


def _slope() -> Any:
    """[16, 16, 3]: each channel rises from left to right, from -0.4 to 0.4."""
    return np.broadcast_to(np.linspace(-0.4, 0.4, 16, dtype=np.float32)[None, :, None], (16, 16, 3)).copy()


def test_some_pictures_are_mirrored_and_some_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = _augmented_alone(monkeypatch, _slope(), "flips")
    as_it_was = [np.allclose(one, _slope(), atol=1e-5) for one in changed]
    mirrored = [np.allclose(one, _slope()[:, ::-1], atol=1e-5) for one in changed]
    assert any(as_it_was) and any(mirrored) and all(a != b for a, b in zip(as_it_was, mirrored, strict=True))


def test_pictures_are_enlarged_shrunk_and_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = _augmented_alone(monkeypatch, _slope(), "crops")
    # Inside, the slope says how large things are; a picture that was shrunk has grey around it.
    slopes = np.abs(changed[:, 8, 9, 0] - changed[:, 8, 6, 0]) / 3 / (0.8 / 15)
    assert slopes.min() < 0.95 and slopes.max() > 1.05 and slopes.min() > 0.75 and slopes.max() < 1.25
    assert np.ptp(changed[:, 8, 8, 0]) > 0.02, "they are moved"
    outside = (changed == 0).all(axis=3).any(axis=(1, 2))
    assert outside.any() and not outside.all()


def test_light_contrast_and_colour_change_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, limit in (("light", 0.2), ("colour", 0.1), ("contrast", 0.2)):
        with monkeypatch.context() as patched:
            changed = _augmented_alone(patched, _slope(), kind)
        means, spread = changed.mean(axis=(1, 2)), np.ptp(changed[..., 0], axis=(1, 2))
        if kind == "contrast":
            np.testing.assert_allclose(means, 0, atol=1e-5)
            assert 0.05 < np.abs(spread / 0.8 - 1).max() <= limit
            continue
        np.testing.assert_allclose(spread, 0.8, atol=1e-5)
        assert limit / 4 < np.abs(means).max() <= limit
        assert (np.ptp(means, axis=1).max() > 0.02) == (kind == "colour"), "light is that of all channels together"


def test_augmented_pictures_differ_from_each_other_and_stay_in_range() -> None:
    picture = np.linspace(-1, 1, 16 * 16 * 3, dtype=np.float32).reshape(1, 16, 16, 3)
    changed = augmented(tf.constant(np.repeat(picture, 6, axis=0)), 1).numpy()
    assert changed.shape == (6, 16, 16, 3)
    assert changed.min() >= -1 and changed.max() <= 1
    assert all(np.abs(changed[i] - changed[j]).max() > 0.01 for i in range(6) for j in range(i))
