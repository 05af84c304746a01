from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import estimators


def test_all_is_sorted_and_each_name_is_there() -> None:
    assert estimators.__all__ == sorted(estimators.__all__)
    for name in estimators.__all__:
        assert getattr(estimators, name).__name__ == name


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Basemodel"):
        estimators.Basemodel  # noqa: B018


def test_the_package_and_the_contract_of_a_model_are_imported_without_tensorflow() -> None:
    code = "import sys, estimators; estimators.BaseModel; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
