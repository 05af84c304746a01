"""Inference with real photos, a real Ray and a real SavedModel: one correct CSV, or one clear message and no CSV."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cvd_cluster.prediction.input_files import look_at
from cvd_cluster.prediction.reading_plan import reading_tasks
from cvd_cluster.ray_session import ray_session
from estimators.errors import DataError, UserError
from estimators.records.record_schema import parse_example, serialize_example
from estimators.records.tfrecord_framing import read_records
from estimators.submission.json_to_csv import json_to_csv
from estimators.submission.json_to_csv_options import JsonToCsvOptions
from tests.estimators.drawn_records import claiming, flip, offset_of, picture
from tests.integration.commands import run_command
from tests.integration.prediction_runs import OLD, Runs
from tests.integration.shards import good_records, write_shard


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """One Ray for all tests of this file; a prediction run joins the Ray that its process is connected to."""
    with ray_session(cpus_needed=5, announce=print):
        yield


@pytest.fixture
def runs(model_dir: Path, tmp_path: Path, ray_here: None) -> Runs:
    made = Runs(model_dir, tmp_path / "out")
    made.folder.mkdir()
    made.output.write_text(OLD)
    return made


def _records(numbers: range) -> list[bytes]:
    return [serialize_example(picture(i), f"{i}.jpg") for i in numbers]


def test_ray_data_starts_no_helper_actors_on_a_ray_of_our_own(runs: Runs, tmp_path: Path) -> None:
    # First in this file: the other tests join this Ray as if it were a cluster, where the helpers belong.
    import ray

    from cvd_cluster.prediction.record_blocks import record_blocks

    files = [look_at(str(write_shard(tmp_path / "shard", _records(range(5)))), 1000)]
    blocks = record_blocks(files, reading_tasks(files, [{}]), num_readers=8, reader_cpus=1, own_ray=True)
    assert sum(table.num_rows for table in ray.get(list(blocks))) == files[0].pieces
    assert ray.util.list_named_actors(all_namespaces=True) == []


def test_each_photo_has_one_row_in_the_order_of_the_files_whatever_the_number_of_predictors(
    runs: Runs, photos: Path
) -> None:
    pattern = f"{photos}/catsvsdogs/test/*"
    outputs = []
    for workers in (1, 2, 4):
        result = runs.predict(
            pattern, 1 << 20, max_worker_count=workers, num_readers=workers, output_format="probability"
        )
        assert (result.predictors, result.rows, result.predicted) == (workers, 500, 500)
        outputs.append(runs.output.read_bytes())
    assert outputs[1:] == outputs[:1] * 2  # to the last bit of each probability
    runs.predict(pattern)

    lines = runs.output.read_text().splitlines()
    files = sorted((photos / "catsvsdogs" / "test").iterdir())
    ids = [parse_example(record).image_id for path in files for _, record in read_records(str(path))]
    assert lines[0] == "Id,Category" and len(lines) == 501
    assert [line.partition(",")[0].encode() for line in lines[1:]] == ids and len(set(ids)) == 500
    assert {line.partition(",")[2] for line in lines[1:]} == {"0", "1"}
    assert runs.lines[-1].startswith(f"wrote 500 rows to {runs.output}: ") and "photos/s" in runs.lines[-1]
    assert any(line.startswith("num examples processed: 500 elapsed seconds: ") for line in runs.lines)


@pytest.mark.slow
def test_a_trained_network_gives_the_same_bits_with_any_number_of_predictors_and_in_a_short_batch(
    runs: Runs, photos: Path, tmp_path: Path
) -> None:
    # Of products of matrices: there the size of a batch and the place in it change the last bits, if one lets them.
    trained = run_command(
        "launch.train",
        f"--train_data_pattern={photos}/catsvsdogs/train/*",
        f"--train_dir={tmp_path}/run",
        "--model=CnnModel",
        "--batch_size=64",
        "--max_steps=3",
    )
    assert trained.code == 0, trained.output
    pattern = f"{photos}/catsvsdogs/test/*"
    how: dict[str, object] = {"output_format": "probability", "model_dir": f"{tmp_path}/run/export/step_3"}
    written = []
    for count in (1, 2, 4):
        runs.predict(pattern, piece_bytes=1 << 20, max_worker_count=count, **how)
        written.append(runs.output.read_bytes())
    assert written[0] == written[1] == written[2]
    first = sorted((photos / "catsvsdogs" / "test").iterdir())[0]
    write_shard(tmp_path / "few", [data for _, data in read_records(str(first))][:5])
    runs.predict(str(tmp_path / "few"), piece_bytes=1 << 20, **how)
    few = runs.output.read_bytes().splitlines()
    assert few == written[0].splitlines()[: len(few)] and len(few) == 6


def test_a_row_has_the_class_of_its_own_photo(runs: Runs, tmp_path: Path) -> None:
    records = [serialize_example(picture(200 if i % 3 else 50), f"{i}.jpg") for i in range(60)]
    for index in range(3):
        write_shard(tmp_path / "in" / f"shard-{index}", records[index * 20 : index * 20 + 20])
    write_shard(tmp_path / "in" / "shard-1-empty", [])
    runs.predict(f"{tmp_path}/in/*", batch_size=7, max_worker_count=2)
    expected = "".join(f"{i}.jpg,{int(bool(i % 3))}\n" for i in range(60))
    assert runs.output.read_text() == "Id,Category\n" + expected


def test_the_newest_export_of_a_train_dir_is_taken(runs: Runs, tmp_path: Path) -> None:
    write_shard(tmp_path / "in", _records(range(3)))
    result = runs.predict(str(tmp_path / "in"), train_dir=str(runs.model_dir.parents[1]), model_dir=None)
    assert result.model_dir == str(runs.model_dir) and result.rows == 3


def test_a_picture_that_does_not_decode_is_named_and_the_older_submission_stays(runs: Runs, tmp_path: Path) -> None:
    broken = serialize_example(b"\xff\xd8\xff no picture", "broken.jpg")
    write_shard(tmp_path / "in" / "a", _records(range(5)))
    write_shard(tmp_path / "in" / "b", [*_records(range(5, 8)), broken, *_records(range(8, 10))])
    with pytest.raises(DataError, match="cannot be predicted") as caught:
        runs.predict(f"{tmp_path}/in/*")
    place = f"{tmp_path}/in/b, record at byte {offset_of(_records(range(5, 8)))} (broken.jpg)"
    assert place in caught.value.found and "JPEG" in caught.value.found
    assert "{{" not in caught.value.found
    runs.assert_untouched()


def test_two_records_with_one_id_are_both_named(runs: Runs, tmp_path: Path) -> None:
    write_shard(tmp_path / "in" / "a", _records(range(5)))
    write_shard(tmp_path / "in" / "b", [*_records(range(5, 8)), *_records(range(2, 3))])
    with pytest.raises(DataError, match="same id") as caught:
        runs.predict(f"{tmp_path}/in/*")
    assert f"'2.jpg' is the id of record 2 of {tmp_path}/in/a and of record 3 of {tmp_path}/in/b" in caught.value.found
    runs.assert_untouched()


def test_damage_inside_a_file_is_told_with_its_offset(runs: Runs, tmp_path: Path) -> None:
    records = _records(range(20))
    path, offset = str(write_shard(tmp_path / "in", records)), offset_of(records[:15])
    flip(path, offset + 30)
    with pytest.raises(DataError, match=f"record at byte {offset}: the checksum of the record's data is wrong"):
        runs.predict(path)
    runs.assert_untouched()


def test_a_model_of_another_kind_is_refused(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"no model")
    write_shard(tmp_path / "in", _records(range(3)))
    with pytest.raises(UserError, match="cannot be loaded"):
        runs.predict(str(tmp_path / "in"), model_dir=str(tmp_path / "model"))
    runs.assert_untouched()


def test_the_command_predicts_on_a_ray_of_its_own_and_leaves_nothing(model_dir: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "in", [*_records(range(40)), serialize_example(picture(), 'with "quotes", and comma')])
    done = run_command(
        "launch.inference",
        f"--train_dir={model_dir.parents[1]}",
        f"--input_data_pattern={tmp_path}/in",
        f"--output_file={tmp_path}/submission.csv",
    )
    assert done.code == 0, done.output
    assert done.lines[-2].startswith("num examples processed: 41 elapsed seconds: ")
    assert done.lines[-1].startswith(f"wrote 41 rows to {tmp_path}/submission.csv: ")
    assert len(done.lines) <= 3, done.output  # nothing of Ray's or TensorFlow's
    rows = (tmp_path / "submission.csv").read_text().splitlines()
    assert len(rows) == 42 and rows[-1] == '"with ""quotes"", and comma",0'
    assert done.left_behind() == []


def test_the_command_tells_what_is_wrong_with_a_picture_without_a_traceback(model_dir: Path, tmp_path: Path) -> None:
    broken = serialize_example(b"\xff\xd8\xff no picture", "broken.jpg")
    write_shard(tmp_path / "in", [*_records(range(3)), broken])
    (tmp_path / "submission.csv").write_text(OLD)
    done = run_command(
        "launch.inference",
        f"--model_dir={model_dir}",
        f"--input_data_pattern={tmp_path}/in",
        f"--output_file={tmp_path}/submission.csv",
    )
    assert done.code == 2
    assert "error: A record cannot be predicted" in done.lines and "broken.jpg" in done.lines[-2], done.output
    assert len(done.lines) == 4, done.output
    assert (tmp_path / "submission.csv").read_text() == OLD
    assert done.left_behind() == []


def test_json_lines_become_the_same_csv(runs: Runs, tmp_path: Path) -> None:
    for index in range(3):
        write_shard(tmp_path / "in" / f"{index}", _records(range(index * 20, index * 20 + 15)))
    write_shard(tmp_path / "in" / "3", [serialize_example(picture(9), 'with "quotes", and\ncomma ü')])
    write_shard(tmp_path / "in" / "0-empty", [])
    runs.predict(f"{tmp_path}/in/*")
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "prediction.results-00000-of-00009").write_text("an older one\n")
    (folder / "notes.txt").write_text("of somebody else\n")
    runs.predict(f"{tmp_path}/in/*", output_file=None, output_path=str(folder))
    names = [f"prediction.results-{index:05d}-of-00005" for index in range(5)]
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", *names]
    assert [len((folder / name).read_text().splitlines()) for name in names] == [15, 0, 15, 15, 1]
    pattern = f"--json_prediction_files_pattern={folder}/prediction.results-*"
    done = run_command(
        "launch.convert_prediction_from_json_to_csv", pattern, f"--csv_output_file={tmp_path}/converted.csv"
    )
    assert done.code == 0 and done.lines == [f"wrote 46 rows to {tmp_path}/converted.csv, from 5 files"], done.output
    assert (tmp_path / "converted.csv").read_bytes() == runs.output.read_bytes()
    for form in ("probability", "top_k"):
        runs.predict(f"{tmp_path}/in/*", output_format=form)
        converted = JsonToCsvOptions(
            json_prediction_files_pattern=f"{folder}/prediction.results-*",
            csv_output_file=f"{tmp_path}/{form}.csv",
            output_format=form,
        )
        assert json_to_csv(converted) == 46
        assert (tmp_path / f"{form}.csv").read_bytes() == runs.output.read_bytes()


def test_one_prediction_has_many_forms_and_a_side_file(runs: Runs, tmp_path: Path) -> None:
    paths = [
        write_shard(tmp_path / "in" / f"{index}", _records(range(index * 20, index * 20 + 15))) for index in (0, 1)
    ]
    pattern = f"{tmp_path}/in/*"
    runs.predict(pattern, output_format="probability")
    probability = dict(line.split(",") for line in runs.output.read_text().splitlines()[1:])
    runs.predict(pattern, output_format="top_k", top_k=1)
    likeliest = dict(line.split(",") for line in runs.output.read_text().splitlines()[1:])
    runs.predict(pattern, output_file=f"{runs.folder}/out.jsonl")
    lines = [json.loads(line) for line in (runs.folder / "out.jsonl").read_text().splitlines()]
    runs.predict(pattern, output_file=f"{runs.folder}/out.parquet")
    table = pq.read_table(runs.folder / "out.parquet").to_pylist()

    assert [row["image_id"] for row in lines] == [f"{i}.jpg" for i in [*range(15), *range(20, 35)]] == list(probability)
    assert [row["image_id"] for row in table] == list(probability)
    for row, same in zip(lines, table, strict=True):
        of_class = dict(zip(row["class_indexes"], row["predictions"], strict=True))
        assert of_class[1] == float(probability[row["image_id"]]) and row["class_indexes"] == same["class_indexes"]
        assert [np.float32(one) for one in row["predictions"]] == same["predictions"]
        assert likeliest[row["image_id"]] == f"{row['class_indexes'][0]}:{row['predictions'][0]}"

    side = json.loads((runs.folder / "out.jsonl.json").read_text())
    assert (side["rows"], side["quarantined"], side["defaulted"], side["quarantine"]) == (30, 0, 0, None)
    assert side["sha256"] == hashlib.sha256((runs.folder / "out.jsonl").read_bytes()).hexdigest()
    assert side["model"]["step"] == 7 and side["model"]["model_dir"] == str(runs.model_dir)
    assert side["input"] == [{"path": str(path), "bytes": path.stat().st_size, "rows": 15} for path in paths]
    assert side["versions"]["tensorflow"] == "2.15.1" and side["options"]["batch_size"] == 128


@pytest.mark.slow
def test_a_checkpoint_that_is_newer_than_all_exports_is_exported_first(tmp_path: Path) -> None:
    write_shard(tmp_path / "train", good_records(40))
    write_shard(tmp_path / "in", _records(range(5)))
    run = tmp_path / "run"
    trained = run_command(
        "launch.train",
        f"--train_data_pattern={tmp_path}/train",
        f"--eval_data_pattern={tmp_path}/train",
        f"--train_dir={run}",
        "--model=LogisticModel",
        "--max_steps=20",
        "--save_checkpoints_steps=10",
        "--batch_size=8",
        "--image_size=16",
    )
    assert trained.code == 0, trained.output
    shutil.rmtree(run / "export")
    flags = [f"--train_dir={run}", f"--input_data_pattern={tmp_path}/in", f"--output_file={tmp_path}/out.csv"]
    done = run_command("launch.inference", *flags)
    assert done.code == 0 and "exporting step 20, which is not exported yet" in done.output, done.output
    side = json.loads((tmp_path / "out.csv.json").read_text())
    assert side["model"]["step"] == 20 and side["model"]["eval_metrics"]["global_step"] == 20

    rows = [json.loads(line) for line in (run / "eval" / "metrics.jsonl").read_text().splitlines()]
    assert {row["hit_at_1"] >= 0 for row in rows} == {True}, "as the evaluator names it"
    better = [{**row, "hit_at_1": 1.0 if row["global_step"] == 10 else 0.5} for row in rows]
    (run / "eval" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in better))
    done = run_command("launch.inference", *flags, "--eval_best")
    assert done.code == 0 and "exporting step 10" in done.output, done.output
    assert json.loads((tmp_path / "out.csv.json").read_text())["model"]["eval_metrics"]["hit_at_1"] == 1.0


def test_json_lines_of_an_unusable_input_replace_nothing(runs: Runs, tmp_path: Path) -> None:
    write_shard(tmp_path / "in", [*_records(range(5)), *_records(range(2, 3))])
    older = tmp_path / "results" / "prediction.results-00000-of-00001"
    older.parent.mkdir()
    older.write_text("an older one\n")
    with pytest.raises(DataError, match="same id"):
        runs.predict(str(tmp_path / "in"), output_file=None, output_path=str(older.parent))
    assert [path.name for path in older.parent.iterdir()] == [older.name] and older.read_text() == "an older one\n"


MISTAKES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "no file matches": ({"input_data_pattern": "{folder}/none*"}, ("No file matches", "--input_data_pattern", "good")),
    "an empty pattern": ({"input_data_pattern": ""}, ("--input_data_pattern is empty",)),
    "no TFRecord": ({"input_data_pattern": "{folder}/text"}, ("no TFRecord file", "{folder}/text", "at byte 0")),
    "an undecodable first picture": ({"input_data_pattern": "{folder}/broken"}, ("broken.jpg", "does not decode")),
    "a first picture of too many pixels": (
        {"input_data_pattern": "{folder}/huge"},
        ("huge.jpg", "claims 12000 x 12000 pixels", "--max_image_pixels is 50000000"),
    ),
    "nothing but empty files": ({"input_data_pattern": "{folder}/empty"}, ("hold no record", "1 empty files")),
    "no id": ({"input_data_pattern": "{folder}/no_id"}, ("{folder}/no_id", "no image/filename")),
    "no output folder": ({"output_file": "{folder}/nowhere/out.csv"}, ("nowhere does not exist", "--output_file")),
    "the output is a folder": ({"output_file": "{folder}"}, ("it is a folder", "--output_file")),
    "the output is an input": ({"output_file": "{folder}/good"}, ("one of the input files", "--output_file")),
    "no export": ({"train_dir": "{folder}"}, ("No exported model", "--train_dir", "train first")),
    "no model": ({"train_dir": ""}, ("--train_dir is empty",)),
    "no room for a batch": ({"batch_size": "0"}, ("--batch_size is out of range",)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_before_anything_is_started(mistake: str, model_dir: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "good", _records(range(2)))
    write_shard(tmp_path / "broken", [serialize_example(b"\xff\xd8\xff no picture", "broken.jpg")])
    write_shard(tmp_path / "no_id", [serialize_example(picture(), "")])
    write_shard(tmp_path / "huge", [serialize_example(claiming(12_000, 12_000), "huge.jpg")])
    write_shard(tmp_path / "empty", [])
    (tmp_path / "text").write_text("Id,Category\n" * 10)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    wrong, told = MISTAKES[mistake]
    flags = {
        "train_dir": str(model_dir.parents[1]),
        "input_data_pattern": "{folder}/good",
        "output_file": "{folder}/out.csv",
    } | wrong
    done = run_command(
        "launch.inference", *(f"--{name}={value.format(folder=tmp_path)}" for name, value in flags.items())
    )
    assert done.code == 2 and done.lines[0].startswith("error: "), done.output
    assert all(part.format(folder=tmp_path) in done.output for part in told), done.output
    assert "Traceback" not in done.output and len(done.lines) <= 4, done.output
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
