"""The figures of docs/models.md can be had again, by the commands that stand there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.integration.commands import command_environment, end_processes_with

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "folder", "least"), [("ResNetModel", "run", 0.78), ("LogisticModel", "logistic", 0.5)]
)
def test_the_commands_of_the_page_train_what_it_says(
    photos: Path, tmp_path: Path, model: str, folder: str, least: float
) -> None:
    """Three to five minutes on two cores. The page says more; another processor may add in another order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (commands,) = [block for block in blocks if f"--model={model}" in block and "--seed=1" in block]
    mark = uuid.uuid4().hex
    environment = command_environment(mark, {"CVD_TEST_DATA": str(photos)})
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    try:
        done = subprocess.run(
            ["bash", "-e", "-c", commands],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1200,
        )
    finally:
        end_processes_with(mark)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (line,) = (tmp_path / folder / "eval" / "metrics.jsonl").read_text().splitlines()
    found = json.loads(line)
    assert (found["global_step"], found["examples"]) == (3000, 300)
    assert found["hit_at_1"] >= least, found
