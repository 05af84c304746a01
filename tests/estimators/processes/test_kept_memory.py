"""Memory that is freed and wanted again is not cleared by the kernel each time."""

from __future__ import annotations

import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
from estimators.processes.kept_memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def use():
    pieces = [b"x" * (size << 20) for size in (16, 8, 16, 8)]
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(way: str) -> int:
    done = subprocess.run([sys.executable, "-c", _FAULTS, way], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_blocks_as_large_as_a_piece_stay_with_the_process() -> None:
    kept, usual = _faults("kept"), _faults("usual")
    assert kept < usual / 10, (kept, usual)
