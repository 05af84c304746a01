"""Whatever is killed, the same bytes come out in the end, and nothing that is finished is computed again."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.commands import Finished, run_command, running_command

PREDICTOR = "ray::Predictor"


@pytest.fixture(scope="module")
def expected(model_dir: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run that nobody disturbs writes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = _predict(model_dir, photos, folder)
    assert done.code == 0, done.output
    return (folder / "out.csv").read_bytes()


def _flags(model_dir: Path, photos: Path, folder: Path) -> list[str]:
    return [
        f"--model_dir={model_dir}",
        f"--input_data_pattern={photos}/catsvsdogs/test/*",
        f"--output_file={folder}/out.csv",
        "--output_format=probability",
        "--max_worker_count=1",
        "--num_readers=1",
    ]


def _predict(model_dir: Path, photos: Path, folder: Path) -> Finished:
    return run_command("tests.integration.slow_inference", "0", *_flags(model_dir, photos, folder))


def _children(pid: int, name: str) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if name in " ".join(process.cmdline()):
                found.append(process)
    return found


def _wait_for_parts(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    until = time.monotonic() + 120
    while len(list((folder / "out.csv.parts").glob("*.arrow"))) < count:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("parts", [1, 9])
def test_a_driver_that_is_killed_loses_nothing_that_is_finished(model_dir, photos, tmp_path, expected, parts):
    with running_command("tests.integration.slow_inference", "0.3", *_flags(model_dir, photos, tmp_path)) as (
        process,
        _,
    ):
        _wait_for_parts(process, tmp_path, parts)
        process.kill()
        process.wait()
    kept = sorted((tmp_path / "out.csv.parts").glob("*.arrow"))
    assert not (tmp_path / "out.csv").exists() and parts <= len(kept) < 25
    times = [path.stat().st_mtime_ns for path in kept]
    done = _predict(model_dir, photos, tmp_path)
    assert done.code == 0, done.output
    assert "were predicted by an earlier run and are kept" in done.output
    assert times and (tmp_path / "out.csv").read_bytes() == expected
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".json") == ["out.csv"]


def test_predictors_that_are_killed_are_replaced(model_dir, photos, tmp_path, expected):
    with running_command("tests.integration.slow_inference", "0.1", *_flags(model_dir, photos, tmp_path)) as (
        process,
        _,
    ):
        for parts in (1, 8):
            _wait_for_parts(process, tmp_path, parts)
            for predictor in _children(process.pid, PREDICTOR):
                predictor.send_signal(signal.SIGKILL)
        output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    assert output.count("a predictor's process died; another one takes its place") == 2, output
    assert (tmp_path / "out.csv").read_bytes() == expected
