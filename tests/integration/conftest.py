"""Fixtures of the tests that run predictions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that tells light pictures (1) from dark ones (0)."""
    folder = tmp_path_factory.mktemp("run") / "export" / "step_7"
    command = [sys.executable, "-m", "tests.integration.served_model", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode == 0, made.stderr
    return folder
