"""Whatever is killed, the same bytes come out in the end, and nothing that is finished is computed again."""

from __future__ import annotations

import contextlib
import csv
import functools
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from estimators.records.record_schema import serialize_example
from tests.estimators.drawn_records import offset_of, picture
from tests.integration.commands import Finished, run_command, running_command
from tests.integration.prediction_runs import DEADLY_WIDTH, OLD
from tests.integration.shards import write_shard

COMMAND = "tests.integration.slow_inference"
PREDICTOR, READER = "ray::Predictor", "ray::Read"
PARTS = 25  # of 1 MiB, of all photos


@pytest.fixture(scope="module")
def expected(model_dir: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run that nobody disturbs writes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = _predict(model_dir, photos, folder)
    assert done.code == 0 and done.lines[-1] == f"parts computed: {PARTS}", done.output
    return (folder / "out.csv").read_bytes()


def _flags(model_dir: Path, photos: Path, folder: Path, workers: int = 1) -> list[str]:
    return [
        f"--model_dir={model_dir}",
        f"--input_data_pattern={photos}/catsvsdogs/test/*",
        f"--output_file={folder}/out.csv",
        "--output_format=probability",
        f"--max_worker_count={workers}",
        "--num_readers=1",
    ]


def _predict(model_dir: Path, photos: Path, folder: Path) -> Finished:
    return run_command(COMMAND, "0", *_flags(model_dir, photos, folder))


def _kill(pid: int, name: str) -> int:
    """Kills the processes below one that have such a name; how many there were."""
    killed = 0
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if name in " ".join(process.cmdline()):
                    process.send_signal(signal.SIGKILL)
                    killed += 1
    return killed


def _parts(folder: Path) -> int:
    return len(list((folder / "out.csv.parts").glob("*.arrow")))


def _has_parts(folder: Path, count: int) -> bool:
    return _parts(folder) >= count


def _wait_for(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not happened():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)


def test_a_driver_that_is_killed_loses_nothing_that_is_finished(model_dir, photos, tmp_path, expected):
    with running_command(COMMAND, "0.3", *_flags(model_dir, photos, tmp_path)) as (process, _):
        _wait_for(process, functools.partial(_has_parts, tmp_path, 9))
        process.kill()
        process.wait()
    kept = _parts(tmp_path)
    assert not (tmp_path / "out.csv").exists() and 9 <= kept < PARTS
    done = _predict(model_dir, photos, tmp_path)
    assert done.code == 0 and "were predicted by an earlier run and are kept" in done.output, done.output
    assert done.lines[-1] == f"parts computed: {PARTS - kept}"
    assert (tmp_path / "out.csv").read_bytes() == expected
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".json") == ["out.csv"]


def test_a_driver_that_is_killed_while_it_merges_publishes_nothing_and_computes_nothing_again(
    model_dir, photos, tmp_path, expected
):
    (tmp_path / "out.csv").write_text(OLD)
    with running_command(COMMAND, "0.1", *_flags(model_dir, photos, tmp_path)) as (process, _):
        _wait_for(process, lambda: any(tmp_path.glob(".out.csv.*.partial")))
        process.send_signal(signal.SIGSTOP)  # it must not publish while its children are looked up
        everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in everything:  # as at the end of the machine
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()
    assert _parts(tmp_path) == PARTS and (tmp_path / "out.csv").read_text() == OLD
    done = _predict(model_dir, photos, tmp_path)
    assert done.code == 0 and done.lines[-1] == "parts computed: 0", done.output
    assert done.lines[-2].endswith("all were predicted by an earlier run"), done.output
    assert (tmp_path / "out.csv").read_bytes() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.json"]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_predictors_and_readers_that_are_killed_are_replaced(model_dir, photos, tmp_path, expected, workers):
    with running_command(COMMAND, "0.1", *_flags(model_dir, photos, tmp_path, workers)) as (process, _):
        for parts in (1, 8):
            _wait_for(process, functools.partial(_has_parts, tmp_path, parts))
            # What is computed already may be written while the successor of one that was killed still starts.
            _wait_for(process, lambda: _kill(process.pid, PREDICTOR) == workers)
            _kill(process.pid, READER)
        output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    assert output.count("a predictor's process died; another one takes its place") == 2 * workers, output
    assert (tmp_path / "out.csv").read_bytes() == expected


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_run_that_is_stopped_says_so_and_the_same_command_goes_on(
    model_dir, photos, tmp_path, expected, number, code
):
    (tmp_path / "out.csv").write_text(OLD)
    with running_command(COMMAND, "0.3", *_flags(model_dir, photos, tmp_path)) as (process, mark):
        _wait_for(process, functools.partial(_has_parts, tmp_path, 5))
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == code and "Traceback" not in output, output
        assert "stopped; what is predicted is kept, and the same command goes on" in output
        assert Finished(code, output, mark).left_behind() == []
    kept = _parts(tmp_path)
    assert 5 <= kept < PARTS and (tmp_path / "out.csv").read_text() == OLD
    done = _predict(model_dir, photos, tmp_path)
    assert done.code == 0 and done.lines[-1] == f"parts computed: {PARTS - kept}", done.output
    assert (tmp_path / "out.csv").read_bytes() == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gcs/gcs_server", "raylet/raylet"])
def test_a_run_whose_ray_is_killed_says_so_and_the_same_command_goes_on(model_dir, photos, tmp_path, expected, name):
    with running_command(COMMAND, "1.5", *_flags(model_dir, photos, tmp_path)) as (process, mark):
        _wait_for(process, functools.partial(_has_parts, tmp_path, 2))
        assert _kill(process.pid, name) == 1
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 3 and "error: Ray is gone" in output and "Traceback" not in output, output
        assert Finished(3, output, mark).left_behind() == []
    kept = _parts(tmp_path)
    done = _predict(model_dir, photos, tmp_path)
    assert done.code == 0 and done.lines[-1] == f"parts computed: {PARTS - kept}", done.output
    assert (tmp_path / "out.csv").read_bytes() == expected


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(3))
def test_kills_at_random_moments_change_no_byte(model_dir, photos, tmp_path, expected, round_):
    flags = _flags(model_dir, photos, tmp_path, workers=(1, 2, 4)[round_])
    # Between the start of Python and the last part, which come after about 0 and 15 s on two cores.
    moments = [(random.choice((PREDICTOR, READER)), random.uniform(4, 12)), ("the command", random.uniform(0, 15))]
    print(moments)  # pytest shows it when the test fails
    with running_command(COMMAND, "0.2", *flags) as (process, _):
        for name, seconds in moments:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            if process.poll() is None and name == "the command":
                process.kill()
            elif process.poll() is None:
                _kill(process.pid, name)
        process.wait()
    done = _predict(model_dir, photos, tmp_path)
    assert done.code == 0, done.output
    assert (tmp_path / "out.csv").read_bytes() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.json"]


@pytest.mark.slow
def test_a_record_that_crashes_tensorflow_is_left_out_and_all_others_are_predicted(
    model_dir, photos, tmp_path, expected
):
    records = [serialize_example(picture(9), f"before-{i}") for i in range(3)]
    deadly = serialize_example(picture(9, size=(DEADLY_WIDTH, 10)), "deadly")
    shard = write_shard(tmp_path / "shard", [*records, deadly, serialize_example(picture(9), "behind")])
    flags = [flag for flag in _flags(model_dir, photos, tmp_path) if "pattern" not in flag]
    pattern = f"--input_data_pattern={photos}/catsvsdogs/test/*,{shard}"
    done = run_command(COMMAND, "0", *flags, pattern, "--on_bad_record=quarantine", timeout=400)
    assert done.code == 0, done.output
    assert done.output.count("a predictor's process died; another one takes its place") >= 3, done.output
    with open(f"{tmp_path}/out.csv.quarantine.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["file"] == str(shard) and (row["row"], row["id"]) == ("3", "deadly"), row
    assert row["offset"] == str(offset_of(records)) and row["reason"] == "it crashed the predictor"
    lines = (tmp_path / "out.csv").read_bytes().splitlines(keepends=True)
    drawn = [line.partition(b",")[0] for line in lines if line.startswith((b"before", b"behind"))]
    assert drawn == [b"before-0", b"before-1", b"before-2", b"behind"]
    assert b"".join(line for line in lines if not line.startswith((b"before", b"behind"))) == expected
