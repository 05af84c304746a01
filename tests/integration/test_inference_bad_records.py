"""Each kind of damage in one run: never a crash, never a silent row, and counts that add up."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image

from cvd_cluster.ray_session import ray_session
from estimators import storage
from estimators.errors import DataError, UserError
from estimators.records.record_schema import serialize_example
from estimators.records.tfrecord_framing import framed
from tests.cvd_cluster.prediction.mutations import Change, changes_of, mutated
from tests.estimators.drawn_records import claiming, encoded, offset_of, picture
from tests.integration.commands import run_command
from tests.integration.prediction_runs import Runs
from tests.integration.shards import good_records, write_shard

GOOD = 4  # good records before and after a bad one, of each file


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    with ray_session(cpus_needed=3, announce=print):
        yield


def _good(name: str, count: int = GOOD, first: int = 0) -> list[bytes]:
    return [serialize_example(picture(200 if i % 2 else 20), f"{name}-{i}") for i in range(first, first + count)]


def _with(bad: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """A file with one such record in its middle."""
    return lambda name: b"".join(map(framed, [*_good(name), bad(name), *_good(name, first=GOOD)]))


def _flipped(place: Callable[[int, int], int]) -> Callable[[str], bytes]:
    """A file with one byte of its middle record changed; `place` gets the record's begin and end."""

    def make(name: str) -> bytes:
        records = [*_good(name), serialize_example(picture(9), f"{name}-bad"), *_good(name, first=GOOD)]
        data = bytearray(b"".join(map(framed, records)))
        data[place(offset_of(records[:GOOD]), offset_of(records[: GOOD + 1]))] ^= 0x10
        return bytes(data)

    return make


def _whole(name: str) -> bytes:
    return b"".join(map(framed, _good(name, 2 * GOOD)))


@dataclass(frozen=True)
class Kind:
    """A file with something bad in it.

    Attributes:
      make: its bytes, of its name.
      reason: part of what the quarantine says.
      named: whether the id of the bad record is known.
      rows: good records that are left; None for those before and after it.
    """

    make: Callable[[str], bytes]
    reason: str
    named: bool = False
    rows: int = 2 * GOOD


def _picture(data: bytes) -> Callable[[str], bytes]:
    return _with(lambda name: serialize_example(data, f"{name}-bad"))


BAD = {
    "a length": Kind(_flipped(lambda begin, end: begin), "checksum of the record's length"),
    "the checksum of a length": Kind(_flipped(lambda begin, end: begin + 9), "checksum of the record's length"),
    "data": Kind(_flipped(lambda begin, end: begin + 100), "checksum of the record's data"),
    "the checksum of data": Kind(_flipped(lambda begin, end: end - 2), "checksum of the record's data"),
    "a record cut short": Kind(lambda name: _whole(name)[:-5], "cut short: 5 of its", rows=2 * GOOD - 1),
    "a header cut short": Kind(lambda name: _whole(name) + b"\x08\0\0", "ends inside a record header (3 of 12"),
    "a packed file cut short": Kind(lambda name: gzip.compress(_whole(name))[:-9], "the gzip file is cut short"),
    "no TFRecord": Kind(lambda name: b"Id,Category\n" * 99, "checksum of the record's length", rows=0),
    "a JPEG header with garbage": Kind(_picture(b"\xff\xd8\xff\xe0" + b"garbage" * 99), "JPEG", named=True),
    "half a JPEG": Kind(_picture(picture()[:150]), "JPEG", named=True),
    "30,000 x 30,000": Kind(_picture(claiming(30_000, 30_000)), "claims 30000 x 30000 pixels", named=True),
    "12,000 x 12,000": Kind(_picture(claiming(12_000, 12_000)), "claims 12000 x 12000 pixels", named=True),
    "a picture of 0 bytes": Kind(_picture(b""), "no image/encoded", named=True),
    "no picture": Kind(_picture(b"no picture"), "", named=True),
    "no id": Kind(_with(lambda name: serialize_example(picture(), "")), "it has no id"),
    "an id that is not UTF-8": Kind(
        _with(lambda name: serialize_example(picture(), "id").replace(b"\x02id", b"\x02\xff\xfe")), "not UTF-8"
    ),
    "no example": Kind(_with(lambda name: b"no example at all"), "not a tf.train.Example"),
    "an empty record": Kind(_with(lambda name: b""), "no image/encoded"),
}
ODD = {
    "CMYK": encoded(Image.new("CMYK", (20, 16))),
    "grey": picture(200, mode="L"),
    "progressive": encoded(Image.new("RGB", (20, 16)), progressive=True),
    "PNG": picture(200, format="PNG"),
    'comma, "quotes"\nand a line': picture(200),
    " spaces ": picture(200),
    "größer": picture(200),
}


def _file_name(kind: str) -> str:
    return f"{list(BAD).index(kind):02d}"


@dataclass
class Outcome:
    rows: list[list[str]]
    quarantine: list[dict[str, str]]
    result: Any

    def of(self, kind: str) -> list[dict[str, str]]:
        return [row for row in self.quarantine if os.path.basename(row["file"]) == _file_name(kind)]


def _run(model_dir: Path, folder: Path, policy: str, **options: Any) -> Outcome:
    inputs = folder / "in"
    inputs.mkdir()
    for kind, bad in BAD.items():
        (inputs / _file_name(kind)).write_bytes(bad.make(_file_name(kind)))
    (inputs / "empty").write_bytes(b"")
    (inputs / "odd").write_bytes(b"".join(framed(serialize_example(data, name)) for name, data in ODD.items()))
    runs = Runs(model_dir, folder)
    result = runs.predict(f"{inputs}/*", on_bad_record=policy, max_worker_count=1, **options)
    with (folder / "submission.csv.quarantine.csv").open(newline="") as file:
        quarantine = list(csv.DictReader(file))
    rows = list(csv.reader(io.StringIO(runs.output.read_text())))
    return Outcome(rows[1:], quarantine, result)


@pytest.fixture(scope="module")
def quarantined(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return _run(model_dir, tmp_path_factory.mktemp("quarantine"), "quarantine")


@pytest.fixture(scope="module")
def defaulted(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return _run(model_dir, tmp_path_factory.mktemp("default"), "default", default_category=1, batch_size=3)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_record_is_one_row_of_the_quarantine_and_all_others_are_predicted(
    quarantined: Outcome, kind: str
) -> None:
    name = _file_name(kind)
    (row,) = quarantined.of(kind)
    assert BAD[kind].reason in row["reason"] and row["reason"]
    assert row["id"] == (f"{name}-bad" if BAD[kind].named else "")
    written = [one for one in quarantined.rows if one[0].startswith(f"{name}-")]
    assert written == [[f"{name}-{i}", str(i % 2)] for i in range(BAD[kind].rows)]
    assert int(row["row"]) == (GOOD if "cut short" not in kind and BAD[kind].rows == 2 * GOOD else BAD[kind].rows)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_record_with_an_id_gets_the_default_in_its_place(defaulted: Outcome, kind: str) -> None:
    name = _file_name(kind)
    written = [one for one in defaulted.rows if one[0].startswith(f"{name}-")]
    expected = [[f"{name}-{i}", str(i % 2)] for i in range(BAD[kind].rows)]
    if BAD[kind].named:
        expected.insert(GOOD, [f"{name}-bad", "1"])
    assert written == expected and len(defaulted.of(kind)) == (not BAD[kind].named)


@pytest.mark.slow
def test_a_trained_and_exported_model_finds_the_same_records_bad(quarantined: Outcome, tmp_path: Path) -> None:
    write_shard(tmp_path / "train", good_records(16))
    flags = (f"--train_data_pattern={tmp_path}/train", f"--train_dir={tmp_path}/run", "--model=CnnModel")
    trained = run_command("launch.train", *flags, "--batch_size=8", "--max_steps=2")
    assert trained.code == 0, trained.output
    (tmp_path / "predicted").mkdir()
    found = _run(tmp_path / "run" / "export" / "step_2", tmp_path / "predicted", "quarantine")

    def places(outcome: Outcome) -> list[tuple[str, str, str]]:
        return [(os.path.basename(row["file"]), row["row"], row["id"]) for row in outcome.quarantine]

    assert places(found) == places(quarantined) and all(row["reason"] for row in found.quarantine)
    assert [row[0] for row in found.rows] == [row[0] for row in quarantined.rows]


def test_the_counts_add_up(quarantined: Outcome, defaulted: Outcome) -> None:
    good = sum(kind.rows for kind in BAD.values()) + len(ODD)
    named = sum(kind.named for kind in BAD.values())
    assert (quarantined.result.rows, quarantined.result.quarantined) == (good, len(BAD))
    assert len(quarantined.rows) == good and len(quarantined.quarantine) == len(BAD)
    result = defaulted.result
    assert (result.rows, result.quarantined, result.defaulted) == (good + named, len(BAD) - named, named)
    assert f"wrote {good} rows to " in str(quarantined.result) and f", {len(BAD)} quarantined:" in str(
        quarantined.result
    )
    assert f"wrote {good + named} rows ({named} of them defaults) to " in str(result)


def test_odd_pictures_and_ids_are_as_good_as_others(quarantined: Outcome) -> None:
    found = {row[0]: row[1] for row in quarantined.rows}
    expected = dict.fromkeys(ODD, "1") | {"progressive": "0"}  # which is black
    assert {name: found[name] for name in ODD} == expected


@pytest.mark.slow
@settings(
    max_examples=10, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes_of(6000))
def test_runs_over_damaged_files_end_with_counts_that_add_up(model_dir: Path, changes: list[Change]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "in"
        path.write_bytes(mutated(_whole("fuzz"), changes))
        whole = Path(name) / "by_command.csv"
        flags = (f"--model_dir={model_dir}", f"--input_data_pattern={path}", f"--output_file={whole}")
        done = run_command("launch.inference", *flags, "--on_bad_record=quarantine", "--max_worker_count=1")
        assert "Traceback" not in done.output and done.left_behind() == [], done.output
        runs = Runs(model_dir, Path(name))
        how: dict[str, Any] = {"piece_bytes": 1500, "on_bad_record": "quarantine", "max_worker_count": 1}
        refused = ("Two records have the same id", "The files of --input_data_pattern hold no record")
        if any(f"error: {why}" in done.output for why in refused):
            with pytest.raises(DataError):
                runs.predict(str(path), **how)
            assert done.code == 2, done.output
            return
        result = runs.predict(str(path), **how)
        assert done.code == 0 and whole.read_bytes() == runs.output.read_bytes(), done.output
        rows = runs.output.read_text().splitlines()[1:]
        listed = Path(f"{runs.output}.quarantine.csv")
        quarantined = list(csv.DictReader(io.StringIO(listed.read_text()))) if listed.exists() else []
    assert (len(rows), len(quarantined)) == (result.rows, result.quarantined)
    assert set(rows) <= {f"fuzz-{i},{i % 2}" for i in range(2 * GOOD)}


@pytest.fixture
def runs(model_dir: Path, tmp_path: Path) -> Runs:
    made = Runs(model_dir, tmp_path / "out")
    made.folder.mkdir()
    made.output.write_text("old\n")
    (tmp_path / "in").write_bytes(_whole("good"))
    return made


def test_what_was_found_bad_is_not_predicted_again_under_another_policy(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(_picture(picture()[:150])("x"))
    with pytest.raises(DataError, match="x-bad"):
        runs.predict(str(tmp_path / "in"))
    result = runs.predict(str(tmp_path / "in"), on_bad_record="quarantine")
    assert (result.rows, result.quarantined, result.predictors) == (2 * GOOD, 1, 0)


def test_a_model_with_another_byte_uses_nothing_of_the_one_before(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(_picture(picture()[:150])("x"))
    runs.model_dir = Path(shutil.copytree(runs.model_dir, tmp_path / "export" / "step_7"))
    with pytest.raises(DataError, match="x-bad"):
        runs.predict(str(tmp_path / "in"))
    (runs.model_dir / "assets").mkdir(exist_ok=True)
    (runs.model_dir / "assets" / "note.txt").write_text("another model")
    runs.lines.clear()
    result = runs.predict(str(tmp_path / "in"), on_bad_record="quarantine")
    assert result.predictors == 1 and not any("kept" in line for line in runs.lines), runs.lines


def test_a_disk_that_takes_no_more_is_told_and_the_old_output_stays(runs: Runs, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))  # bytes that this process may write into a file
    try:
        with pytest.raises(UserError, match="cannot be written") as caught:
            runs.predict(str(tmp_path / "in"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.strerror(errno.EFBIG) in caught.value.found and "--output_file" in caught.value.change
    assert runs.output.read_text() == "old\n"
    assert [path.name for path in runs.folder.iterdir()] == [runs.output.name]
    assert runs.predict(str(tmp_path / "in")).rows == 2 * GOOD


def test_a_disk_that_fills_while_the_submission_is_written_loses_nothing(runs: Runs, tmp_path: Path) -> None:
    long = "x" * 200
    records = [serialize_example(picture(9), f"{i}-{long}") for i in range(100)]
    (tmp_path / "in").write_bytes(b"".join(map(framed, records)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, before[1]))  # a part fits, 100 rows do not
    try:
        with pytest.raises(UserError, match="cannot be written; what was there before is as it was"):
            runs.predict(str(tmp_path / "in"), piece_bytes=2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {path.name for path in runs.folder.iterdir()} == {runs.output.name, f"{runs.output.name}.parts"}
    assert runs.output.read_text() == "old\n"
    result = runs.predict(str(tmp_path / "in"), piece_bytes=2000)
    assert (result.rows, result.predictors) == (100, 0)


def test_a_disk_that_has_no_room_for_the_side_file_does_not_say_that_there_is_no_submission(
    runs: Runs, tmp_path: Path, monkeypatch
) -> None:
    def full(path: str, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(storage, "write_text", full)
        with pytest.raises(UserError, match="written and complete") as caught:
            runs.predict(str(tmp_path / "in"))
    assert f"{runs.output}.json" in caught.value.asked
    assert len(runs.output.read_text().splitlines()) == 2 * GOOD + 1
    result = runs.predict(str(tmp_path / "in"))
    assert (result.rows, result.predictors) == (2 * GOOD, 0)


def test_what_only_looks_like_records_inside_of_a_record_is_no_reason_to_fail(runs: Runs, tmp_path: Path) -> None:
    # A field that nobody knows, with framed records that are no examples: pieces begin in it, and read them at first.
    inner = b"".join(framed(b"no example at all") for _ in range(300))
    size = len(inner)
    field = bytes([0x7A, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + inner
    records = [*_good("before"), serialize_example(picture(9), "outer") + field, *_good("behind")]
    (tmp_path / "in").write_bytes(b"".join(map(framed, records)))
    result = runs.predict(str(tmp_path / "in"), piece_bytes=1000)
    assert (result.rows, result.quarantined) == (2 * GOOD + 1, 0)


def test_a_file_that_vanishes_during_the_run_is_named_and_can_come_back(
    runs: Runs, tmp_path: Path, monkeypatch
) -> None:
    from cvd_cluster.prediction import missing_parts
    from cvd_cluster.prediction.pool_plan import plan_pool

    data = (tmp_path / "in").read_bytes()

    def plan_later(**arguments: Any) -> Any:
        (tmp_path / "in").unlink()
        return plan_pool(**arguments)

    with monkeypatch.context() as patched:
        patched.setattr(missing_parts, "plan_pool", plan_later)
        with pytest.raises(DataError, match="cannot be read any more") as caught:
            runs.predict(str(tmp_path / "in"), on_bad_record="quarantine")
    assert str(tmp_path / "in") in caught.value.found and runs.output.read_text() == "old\n"
    (tmp_path / "in").write_bytes(data)
    assert runs.predict(str(tmp_path / "in")).rows == 2 * GOOD


def test_the_ids_of_a_sample_submission_are_checked_before_publishing(runs: Runs, tmp_path: Path) -> None:
    sample = tmp_path / "sample.csv"
    names = [f"good-{i}" for i in range(2 * GOOD)]
    sample.write_text("Id,Category\n" + "".join(f"{name},0\n" for name in [*names, "missing"]))
    with pytest.raises(DataError, match="not those of the sample") as caught:
        runs.predict(str(tmp_path / "in"), sample_submission=str(sample))
    assert caught.value.found == "1 are missing: missing" and runs.output.read_text() == "old\n"
    sample.write_text("Id,Category\n" + "".join(f"{name},0\n" for name in reversed(names)))
    result = runs.predict(str(tmp_path / "in"), sample_submission=str(sample))
    assert result.rows == 2 * GOOD and result.predictors == 0
    assert any("in another order" in line for line in runs.lines)
