"""Memory of a whole prediction run, process by process, and the speed of the merge alone."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from cvd_cluster.prediction.bad_records import quarantine
from cvd_cluster.prediction.finished_parts import FinishedParts
from cvd_cluster.prediction.input_files import InputFile
from cvd_cluster.prediction.part_columns import part_of, to_bytes
from cvd_cluster.prediction.piece_columns import PieceReport
from cvd_cluster.prediction.prediction_options import FAIL
from cvd_cluster.prediction.submission_merge import SubmissionMerge
from cvd_cluster.prediction.submission_output import csv_output
from estimators.errors import InfrastructureError

_SECONDS_BETWEEN_LOOKS = 0.25


def peak_memory(pattern: str, model_dir: str, folder: str) -> dict[str, float]:
    """Runs launch.inference; the most memory of its own that each kind of process had, in MiB."""
    command = [sys.executable, "-m", "launch.inference", f"--model_dir={model_dir}", f"--input_data_pattern={pattern}"]
    with open(f"{folder}/memory.log", "w") as log:
        process = subprocess.Popen([*command, f"--output_file={folder}/memory.csv"], stdout=log, stderr=log)
        peaks: dict[str, float] = {}
        while process.poll() is None:
            for kind, size in _memory_now(process.pid):
                peaks[kind] = max(size, peaks.get(kind, 0.0))
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    if process.returncode:
        raise InfrastructureError("launch.inference failed", found=Path(f"{folder}/memory.log").read_text()[-2000:])
    return peaks


def _memory_now(pid: int) -> list[tuple[str, float]]:
    found = [("driver", _own_memory(pid))]
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error, OSError):
            title = " ".join(child.cmdline())
            for kind, name in (("predictor", "ray::Predictor"), ("reader", "ray::Read")):
                if title.startswith(name):
                    found.append((kind, _own_memory(child.pid)))
    return found


def _own_memory(pid: int) -> float:
    # Without the pages of Ray's object store, which all processes share and which has a size of its own.
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    return 0.0


def merged_rows_a_second(rows: int, parts: int) -> float:
    """The merge alone, of parts that are made for it: reading, ordering, the check for duplicates, writing."""
    each = rows // parts
    with tempfile.TemporaryDirectory() as folder:
        file = InputFile("/made/up", parts * 16, "", 0, "", gzip=False, piece_bytes=16)
        kept = FinishedParts(folder, [file], {})
        for number in range(parts):
            kept.add(to_bytes(_part(number, each)))
        begun = time.perf_counter()
        path = f"{folder}/out.csv"
        with quarantine(path) as bad, csv_output(path, "category", 20, ready=bad.publish) as write:
            merged = SubmissionMerge([file], kept, FAIL, 0).write(write, bad)
        return merged.rows / (time.perf_counter() - begun)


def _part(number: int, rows: int) -> object:
    report = PieceReport(0, number, rows, (), number * 16, number * 16, number * 16 + 16, None, None)
    ids = [b"%d.jpg" % (number * rows + index) for index in range(rows)]
    classes = np.tile(np.array([1, 0], np.int32), (rows, 1))
    probabilities = np.tile(np.array([0.75, 0.25], np.float32), (rows, 1))
    offsets = np.arange(rows, dtype=np.int64)
    return part_of(report, offsets, offsets, ids, classes, probabilities, [None] * rows)
