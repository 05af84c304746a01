"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Its assertions are told like those of a test.
pytest.register_assert_rewrite("tests.integration.chaos_table")


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photos, $CVD_TEST_DATA."""
    folder = os.environ.get("CVD_TEST_DATA")
    if not folder:
        pytest.skip("real photos are wanted: set CVD_TEST_DATA to the folder that holds catsvsdogs/")
    if not (Path(folder) / "catsvsdogs").is_dir():
        missing = f"real photos are wanted: CVD_TEST_DATA={folder} holds no folder catsvsdogs/"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)  # a skip there would pass for a test that ran
        pytest.skip(missing)
    return Path(folder)
