"""The tutorial works as it stands: its files are written and its commands run, in the order of the page."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.integration.commands import command_environment, end_processes_with

PAGE = Path(__file__).parents[2] / "docs" / "write_your_own_model.md"


@pytest.mark.slow
def test_the_tutorial_leads_to_a_submission(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    environment = command_environment(mark)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    commands = 0
    try:
        for kind, text in re.findall(r"^```(python|sh)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE):
            if kind == "python":
                name = re.match(r"# (\w+\.py)\n", text)
                assert name, text
                (tmp_path / name[1]).write_text(text)
                continue
            done = subprocess.run(
                ["bash", "-e", "-c", text],
                cwd=tmp_path,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            commands += 1
    finally:
        end_processes_with(mark)
    assert commands >= 5
    rows = (tmp_path / "submission.csv").read_text().splitlines()
    assert rows[0] == "Id,Category" and len(rows) == 121
