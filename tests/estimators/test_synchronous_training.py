from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

_TOLERANCE = 1e-6
Paths = dict[str, tuple[list[float], list[float]]]


@pytest.fixture(scope="module")
def weights() -> Paths:
    """Case -> the weights at the end of training alone, and on two replicas."""
    argv = [sys.executable, "-m", "tests.estimators.two_replicas"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        argv, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: Paths = json.loads(done.stdout.splitlines()[-1])
    return found


def _apart(one: list[float], other: list[float]) -> float:
    return float(np.abs(np.array(one) - other).max())


@pytest.mark.parametrize("case", ["plain", "clipped", "penalized"])
def test_two_replicas_take_the_path_of_one_process_with_twice_the_batch(weights: Paths, case: str) -> None:
    alone, together = weights[case]
    assert _apart(alone, together) < _TOLERANCE
    assert case == "plain" or _apart(weights["plain"][0], alone) > 0.01, f"{case} makes a difference"


def test_replicas_that_clip_before_they_reduce_would_not_and_that_would_be_seen(weights: Paths) -> None:
    alone, together = weights["clipped before"]
    assert _apart(alone, weights["clipped"][0]) < _TOLERANCE, "alone the order makes no difference"
    assert _apart(alone, together) > 1000 * _TOLERANCE
