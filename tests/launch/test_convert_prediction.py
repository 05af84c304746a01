from __future__ import annotations

import sys

import pytest

from launch.convert_prediction_from_json_to_csv import main
from launch.flags import run_command


@pytest.mark.parametrize(("pattern", "output"), [("results/*", "/s/out.csv"), ("/s/results/*", "out.csv")])
def test_in_a_ray_job_paths_must_be_absolute(
    pattern: str, output: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    flags = [f"--json_prediction_files_pattern={pattern}", f"--csv_output_file={output}"]
    monkeypatch.setattr(sys, "argv", ["convert", *flags])
    with pytest.raises(SystemExit) as ended:
        run_command(main)
    assert ended.value.code == 2 and "A relative path in a Ray job" in capsys.readouterr().err
