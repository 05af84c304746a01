from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np


def test_two_replicas_take_the_path_of_one_process_with_twice_the_batch() -> None:
    argv = [sys.executable, "-m", "tests.estimators.two_replicas"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        argv, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    weights = json.loads(done.stdout.splitlines()[-1])
    for alone, together in weights.values():
        np.testing.assert_allclose(together, alone, atol=1e-6)
    for case in ("clipped", "penalized"):
        assert np.abs(np.array(weights["plain"][0]) - weights[case][0]).max() > 0.01, f"{case} makes a difference"
