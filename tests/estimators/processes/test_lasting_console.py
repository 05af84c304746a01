"""A run goes on whatever becomes of its console: real processes, pipes that are closed and a disk that is full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = (
    "import sys, time\n"
    "from estimators.processes.lasting_console import keep_running_without_console\n"
    "keep_running_without_console()\n"
    "for number in range(3000):\n"
    "    print('line', number, 'x' * 100)\n"
    "    print('error', number, file=sys.stderr, flush=True)\n"
    "open(sys.argv[1], 'w').write('done')\n"
)


def run(done: Path, **streams: object) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", PROGRAM, str(done)]
    return subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(ROOT)}, **streams)  # type: ignore[call-overload, no-any-return]


def test_a_reader_that_goes_ends_no_run(tmp_path: Path) -> None:
    process = run(tmp_path / "done", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().startswith(b"line 0 ")
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=60) == 0 and (tmp_path / "done").read_text() == "done"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_log_on_a_full_disk_ends_no_run(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = run(tmp_path / "done", stdout=full, stderr=full)
    assert process.wait(timeout=60) == 0 and (tmp_path / "done").read_text() == "done"


def test_what_a_console_has_no_letters_for_ends_no_run(tmp_path: Path) -> None:
    program = PROGRAM.replace("'line'", "'Zeile ü'")
    argv = [sys.executable, "-c", program, str(tmp_path / "done")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii:strict"}
    process = subprocess.run(argv, env=environment, capture_output=True, timeout=60, check=False)
    assert process.returncode == 0 and b"Zeile \\xfc 2999 " in process.stdout and (tmp_path / "done").exists()


def test_all_is_printed_as_long_as_somebody_reads(tmp_path: Path) -> None:
    process = run(tmp_path / "done", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    lines = process.communicate(timeout=60)[0].splitlines()
    assert len(lines) == 3000 and lines[-1].startswith(b"line 2999 ")
