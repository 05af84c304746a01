"""How fast photos are predicted, how long the whole command takes, and in how much memory:

    python -m benchmarks.inference [--input_data_pattern='/data/*/*-of-*'] [--only=speed|start|memory|merge]

speed    the rate between 20 % and 90 % of 20,000 photos: launch.inference, a plain loop of TFRecordDataset and a
         SavedModel as guides show it, the quickest such loop, reading + decoding + resizing alone,
         ray.data.read_tfrecords + write_csv
start    the whole command on 4,000 photos: launch.inference and the plain loop; and what its start is made of
memory   of each process of launch.inference, with 50,000 and with 1,000,000 pictures of 24 x 24 pixels
merge    rows a second of the merge alone

All sides of a row run beside each other in one run, in turns, each in a process of its own; medians are reported, and
ratios and processor times of each round, which other work on the machine disturbs less.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ""):  # as `python benchmarks/inference.py`
    sys.path.insert(0, str(Path(__file__).parents[1]))

from estimators.errors import InfrastructureError, UserError
from estimators.options import Options, option
from launch.flags import parse_flags, run_command

_ROOT = Path(__file__).parents[1]
_SHARDS, _TINY_SHARDS = 16, 64
_RAY_DATA = "ray.data.read_tfrecords + write_csv"
# Of the rate of launch.inference to theirs.
_WANTED = {"plain loop": "1.0", "decoding alone": "0.9"}
_MEASURES = ("speed", "start", "memory", "merge")


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(Options):
    """What to measure, and on what."""

    input_data_pattern: str | None = option(
        None,
        group="benchmark",
        help="TFRecord files with photos, a glob; without it those below $CVD_TEST_DATA, or ../shared/data",
    )
    only: str | None = option(None, group="benchmark", choices=_MEASURES, help="measure nothing else")
    rounds: int = option(3, group="benchmark", at_least=1, help="times that each side of speed and start runs")
    speed_photos: int = option(20_000, group="benchmark", at_least=2_000, help="photos for speed")
    start_photos: int = option(4_000, group="benchmark", at_least=100, help="photos for start")
    few_pictures: int = option(50_000, group="benchmark", at_least=1_000, help="the fewer pictures for memory")
    many_pictures: int = option(
        1_000_000, group="benchmark", at_least=1_000, help="the more pictures for memory, merge"
    )


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=_ROOT)
    if done.returncode:
        raise InfrastructureError("A measured command failed", asked=" ".join(command), found=done.stderr[-2000:])
    return done.stdout


def _seconds(command: list[str]) -> float:
    """Seconds that a command takes."""
    begun = time.perf_counter()
    _output(command)
    return time.perf_counter() - begun


@dataclass(frozen=True)
class _Bench:
    folder: str
    model_dir: str
    pictures: list[bytes]

    def ours(self, pattern: str) -> list[str]:
        flags = [f"--model_dir={self.model_dir}", f"--input_data_pattern={pattern}"]
        return [sys.executable, "-m", "launch.inference", *flags, f"--output_file={self.folder}/ours.csv"]

    def side(self, name: str, pattern: str) -> list[str]:
        target = tempfile.mkdtemp(dir=self.folder)
        command = [sys.executable, "-m", "benchmarks.inference_sides", name, pattern]
        return [*command, self.model_dir, f"{target}/out.csv"]

    def photos(self, count: int) -> str:
        from benchmarks.inference_data import write_shards

        return write_shards(f"{self.folder}/photos-{count}", self.pictures, count, _SHARDS)

    def tiny(self, count: int) -> str:
        from benchmarks.inference_data import tiny_pictures, write_shards

        return write_shards(f"{self.folder}/tiny-{count}", tiny_pictures(), count, _TINY_SHARDS)


def _speed(bench: _Bench, options: BenchmarkOptions) -> None:
    from benchmarks.inference_rate import steady_rate

    pattern = bench.photos(options.speed_photos)
    sides: dict[str, Callable[[], list[str]]] = {
        "launch.inference": lambda: bench.ours(pattern),
        "plain loop": lambda: bench.side("plain", pattern),
        "plain loop, the quickest": lambda: bench.side("session", pattern),
        "decoding alone": lambda: bench.side("decode", pattern),
        _RAY_DATA: lambda: bench.side("ray_data", pattern),
    }
    rounds = [{name: steady_rate(command(), _ROOT) for name, command in sides.items()} for _ in range(options.rounds)]
    print(
        f"| {options.speed_photos:,} photos, 20–90 % | photos/s, median | launch.inference to it, median (each) | "
        "wanted | processor time, µs a photo |"
    )
    print("| --- | --- | --- | --- | --- |")
    for name in sides:
        rate = statistics.median(one[name].photos for one in rounds)
        ratios = [one["launch.inference"].photos / one[name].photos for one in rounds]
        told = f"{statistics.median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)})"
        # Ray Data tells of its progress when all is done.
        times = "" if name == _RAY_DATA else ", ".join(f"{one[name].processor * 1e6:.0f}" for one in rounds)
        print(f"| {name} | {rate:,.0f} | {told} | {_WANTED.get(name, '')} | {times} |", flush=True)


def _start(bench: _Bench, options: BenchmarkOptions) -> None:
    pattern = bench.photos(options.start_photos)
    pairs = [(_seconds(bench.ours(pattern)), _seconds(bench.side("plain", pattern))) for _ in range(options.rounds)]
    print(f"| whole command, {options.start_photos:,} photos | seconds, median | each round |")
    print("| --- | --- | --- |")
    for name, seconds in zip(("launch.inference", "plain loop"), zip(*pairs, strict=True), strict=True):
        print(f"| {name} | {statistics.median(seconds):.1f} | {', '.join(f'{one:.1f}' for one in seconds)} |")
    print(f"| more | {statistics.median(ours - plain for ours, plain in pairs):.1f} | |\n", flush=True)
    profiles = [_profile(bench.model_dir) for _ in range(options.rounds)]
    print("| of the start, each by itself | seconds, median |\n| --- | --- |")
    for name in profiles[0]:
        print(f"| {name} | {statistics.median(profile[name] for profile in profiles):.2f} |", flush=True)


def _profile(model_dir: str) -> dict[str, float]:
    return dict(json.loads(_output([sys.executable, "-m", "benchmarks.inference_start", model_dir])))


def _memory(bench: _Bench, options: BenchmarkOptions) -> None:
    from benchmarks.inference_memory import peak_memory

    counts = (options.few_pictures, options.many_pictures)
    few, many = (peak_memory(bench.tiny(count), bench.model_dir, bench.folder) for count in counts)
    print(f"| MiB of its own at the most | {counts[0]:,} pictures | {counts[1]:,} pictures | ratio |")
    print("| --- | --- | --- | --- |")
    for kind in few:
        print(f"| {kind} | {few[kind]:.0f} | {many[kind]:.0f} | {many[kind] / few[kind]:.2f} |", flush=True)


def _merge(options: BenchmarkOptions) -> None:
    from benchmarks.inference_memory import merged_rows_a_second

    rate = merged_rows_a_second(options.many_pictures, _TINY_SHARDS)
    print(f"| merge of {options.many_pictures:,} rows | {rate:,.0f} rows/s |\n| --- | --- |", flush=True)


def main() -> None:
    """Prints the tables."""
    (options,) = parse_flags("benchmarks.inference", __doc__, BenchmarkOptions)
    wanted = [options.only] if options.only else list(_MEASURES)
    if "merge" in wanted:
        _merge(options)
    if wanted == ["merge"]:
        return
    from benchmarks.inference_data import exported_model, photos_of

    data = os.environ.get("CVD_TEST_DATA", str(_ROOT.parent / "shared" / "data"))
    pattern = options.input_data_pattern or f"{data}/catsvsdogs/*/*-of-*"
    pictures = photos_of(pattern)
    if not pictures:
        raise UserError("No photos to measure on", asked=pattern, change="--input_data_pattern")
    with tempfile.TemporaryDirectory(prefix="cvd-bench-") as folder:
        bench = _Bench(folder, exported_model(folder, pictures), pictures)
        for name, measure in (("speed", _speed), ("start", _start), ("memory", _memory)):
            if name in wanted:
                measure(bench, options)


if __name__ == "__main__":
    run_command(main)
