from __future__ import annotations

from pathlib import Path

import pytest

from estimators.data_set.new_folder import new_folder
from estimators.errors import UserError


def test_the_folder_appears_at_the_end_with_what_was_written(tmp_path):
    target = tmp_path / "parent" / "data"
    with new_folder(f"{target}/") as staging:
        (tmp_path / "parent" / staging / "file").write_text("x")
        assert not target.exists()
    assert (target / "file").read_text() == "x"
    assert [path.name for path in target.parent.iterdir()] == ["data"]


def test_an_error_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_folder(str(tmp_path / "data")):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_may_become_it(tmp_path):
    (tmp_path / "data").mkdir()
    with new_folder(str(tmp_path / "data")) as staging:
        (tmp_path / staging / "file").write_text("x")
    assert (tmp_path / "data" / "file").exists()


def test_a_folder_that_holds_something_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("x")
    with pytest.raises(UserError, match="holds 1 names: mine"), new_folder(str(tmp_path / "data")):
        pytest.fail("the block must not run")
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "mine"]


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "data").write_text("x")
    with pytest.raises(UserError, match="it is a file"), new_folder(str(tmp_path / "data")):
        pytest.fail("the block must not run")


def test_a_parent_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"), new_folder(str(tmp_path / "file" / "data")):
        pytest.fail("the block must not run")


def test_a_folder_that_somebody_else_filled_meanwhile_is_not_overwritten(tmp_path):
    def fill_meanwhile(target: Path) -> None:
        with new_folder(str(target)):
            target.mkdir()
            (target / "theirs").write_text("x")

    with pytest.raises(UserError):
        fill_meanwhile(tmp_path / "data")
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "theirs"]
