"""launch.inference in pieces of 1 MiB, with a pause behind each: python -m tests.integration.slow_inference SECONDS …

There is a pause before each of them is merged too.

So that a test can interfere between them. The last line tells how many parts were computed.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from cvd_cluster.prediction import prediction_job
from cvd_cluster.prediction.finished_parts import FinishedParts
from cvd_cluster.prediction.prediction_options import PredictionOptions
from launch.flags import parse_flags, run_command


def main() -> None:
    seconds = float(sys.argv.pop(1))
    (options,) = parse_flags("slow_inference", __doc__, PredictionOptions)
    add, read, added = FinishedParts.add, FinishedParts.read, 0

    def add_slowly(self: FinishedParts, part: Any) -> Any:
        nonlocal added
        time.sleep(seconds)
        added += 1
        return add(self, part)

    def read_slowly(self: FinishedParts, file: int, number: int) -> Any:
        time.sleep(seconds)
        return read(self, file, number)

    FinishedParts.add = add_slowly  # type: ignore[method-assign,assignment]
    FinishedParts.read = read_slowly  # type: ignore[method-assign]
    prediction_job.run_prediction(options, piece_bytes=1 << 20)
    print(f"parts computed: {added}")


if __name__ == "__main__":
    run_command(main)
