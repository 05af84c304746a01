from __future__ import annotations

import sys
from pathlib import Path

import pytest

from estimators.class_lookup import load_class
from estimators.errors import DataError, UserError
from estimators.processes.user_code import user_errors_told


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file for a module of the user's own, in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "my_models", raising=False)
    return tmp_path / "my_models.py"


def refused(name: str = "my_models:MyModel") -> UserError:
    with pytest.raises(UserError) as caught:
        load_class("model", name)
    return caught.value


def test_an_import_that_fails_is_told_with_the_users_lines_and_none_of_ours(module: Path) -> None:
    module.write_text("import os\n\nimport no_such_package\n")
    error = refused()
    assert error.summary == "The module of --model cannot be imported: ModuleNotFoundError"
    assert error.asked == "--model=my_models:MyModel"
    assert error.found.splitlines() == [
        f'  File "{module}", line 3, in <module>',
        "    import no_such_package",
        "ModuleNotFoundError: No module named 'no_such_package'",
    ]


def test_a_module_that_the_users_module_imports_is_in_the_traceback(module: Path) -> None:
    module.with_name("my_layers.py").write_text("def make():\n    return 1 / 0\nmake()\n")
    module.write_text("import my_layers\n")
    lines = refused().found.splitlines()
    assert [line for line in lines if "File" in line] == [
        f'  File "{module}", line 1, in <module>',
        f'  File "{module.with_name("my_layers.py")}", line 3, in <module>',
        f'  File "{module.with_name("my_layers.py")}", line 2, in make',
    ]
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_a_mistake_in_the_syntax_is_told_with_its_line(module: Path) -> None:
    module.write_text("class MyModel(:\n    pass\n")
    found = refused().found
    assert f'File "{module}", line 1' in found and "class MyModel(:" in found and "importlib" not in found


def test_errors_of_the_harness_pass() -> None:
    with pytest.raises(DataError, match="broken"), user_errors_told("It fails", asked=""):
        raise DataError("broken")
