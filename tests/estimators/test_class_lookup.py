from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from estimators import BaseModel
from estimators.class_lookup import built_in_names, check_name, load_class
from estimators.errors import UserError

ROOT = Path(__file__).parents[2]
OWN_MODELS = """
from estimators import BaseModel
from estimators.models import BaseModel as Again

class GoodModel(BaseModel):
    def create_model(self, model_input, num_classes=2, is_training=True, **params):
        return {}

class GrandChild(GoodModel):
    pass

class WrongName(BaseModel):
    def build(self, model_input):
        return {}

class Stranger:
    pass

a_function = len
"""


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that holds models of the user's own."""
    (tmp_path / "own_models.py").write_text(OWN_MODELS)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "inner_models.py").write_text(OWN_MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.startswith(("own_models", "package")):
            del sys.modules[name]


def refused(flag: str, name: str) -> str:
    with pytest.raises(UserError) as caught:
        load_class(flag, name)
    return str(caught.value)


def test_the_built_in_classes_are_known_without_importing_tensorflow() -> None:
    code = (
        "import sys; from estimators.class_lookup import built_in_names, check_name\n"
        "print(built_in_names('model'), built_in_names('label_loss')); check_name('model', 'CnnModel')\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in ("CnnModel", "LogisticModel", "CrossEntropyLoss"):
        assert f"'{name}'" in done.stdout
    assert "Base" not in done.stdout


def test_a_wrong_name_lists_the_right_ones_and_the_one_that_was_meant() -> None:
    message = refused("model", "LogistikModel")
    assert "No model 'LogistikModel'" in message
    assert ", ".join(built_in_names("model")) + "; did you mean LogisticModel?" in message and "module:Class" in message
    assert "No label loss 'Foo'" in refused("label_loss", "Foo") and "did you mean" not in refused("model", "Foo")


@pytest.mark.parametrize("name", ["BaseModel", "prediction_columns", "Any", "CrossEntropyLoss"])
def test_what_is_no_model_is_not_found_by_its_plain_name(name: str) -> None:
    assert "No model" in refused("model", name)


@pytest.mark.parametrize("name", ["own_models:GoodModel", "own_models:GrandChild", "package.inner_models:GoodModel"])
def test_a_class_of_the_users_own_is_found_from_the_working_directory(own_models: Path, name: str) -> None:
    check_name("model", name)
    found = load_class("model", name)
    assert found.__name__ == name.split(":")[1] and issubclass(found, BaseModel)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such_module:Model", ["No module 'no_such_module'", "no no_such_module.py in "]),
        ("package.missing:Model", ["No module 'package.missing'", "no package/missing.py"]),
        ("no_package.missing:Model", ["No module 'no_package.missing'"]),
        (":GoodModel", ["No module ''"]),
        ("own_models:Missing", ["No class 'Missing' in own_models", "GoodModel", "WrongName"]),
        ("own_models:", ["No class ''"]),
        ("own_models:Stranger", ["is not a BaseModel", "Stranger", "inherits from object", "estimators.BaseModel"]),
        ("own_models:a_function", ["is not a BaseModel"]),
        ("own_models:WrongName", ["does not define create_model", "estimators.BaseModel"]),
        ("own_models:BaseModel", ["does not define create_model"]),
    ],
)
def test_a_class_that_does_not_fit_is_told_with_what_was_found(own_models: Path, name: str, told: list[str]) -> None:
    message = refused("model", name)
    assert all(part in message for part in [f"--model={name}", *told]), message


def test_an_error_in_the_users_module_is_shown_with_its_lines(own_models: Path) -> None:
    (own_models / "own_models_broken.py").write_text("raise RuntimeError('at import')")
    with pytest.raises(UserError, match="cannot be imported: RuntimeError") as caught:
        load_class("model", "own_models_broken:Model")
    assert "own_models_broken.py" in caught.value.found and caught.value.found.endswith("RuntimeError: at import")


def test_a_loss_must_be_a_loss() -> None:
    assert load_class("label_loss", "CrossEntropyLoss").__name__ == "CrossEntropyLoss"
    assert "is not a BaseLoss" in refused("label_loss", "estimators.cvd_models:CnnModel")


def test_every_built_in_class_can_be_made() -> None:
    for flag in ("model", "label_loss"):
        for name in built_in_names(flag):
            assert type(load_class(flag, name)()).__name__ == name


@pytest.mark.parametrize(
    "name", ["own_models.GoodModel", "own_models.py:GoodModel", "./own_models:GoodModel", "own_models/GoodModel"]
)
def test_a_name_that_is_written_in_another_way_is_told_as_it_must_be(own_models: Path, name: str) -> None:
    assert "own_models:GoodModel" in refused("model", name)


def test_a_package_that_cannot_be_imported_is_told_with_its_own_error(own_models: Path) -> None:
    for error in ("import no_such_library", "raise KeyError('forgotten')"):
        (own_models / "package" / "__init__.py").write_text(error)
        message = refused("model", "package.inner_models:GoodModel")
        assert "cannot be imported" in message and error.split()[-1].strip("()") in message, message
