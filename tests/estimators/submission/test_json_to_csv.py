"""JSON lines of a batch prediction become the submission, or one clear message and no file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from estimators.errors import DataError, UserError
from estimators.submission.json_to_csv import json_to_csv
from estimators.submission.json_to_csv_options import JsonToCsvOptions

OLD = "an older one\n"


def _line(image_id: object = "1.jpg", classes: object = (1, 0), numbers: object = (0.9, 0.1)) -> str:
    return json.dumps({"image_id": image_id, "class_indexes": classes, "predictions": numbers})


def _write(folder: Path, *files: list[str]) -> JsonToCsvOptions:
    for index, lines in enumerate(files):
        name = f"prediction.results-{index:05d}-of-{len(files):05d}"
        (folder / name).write_text("".join(line + "\n" for line in lines), newline="")
    (folder / "out.csv").write_text(OLD)
    return JsonToCsvOptions(
        json_prediction_files_pattern=f"{folder}/prediction.results-*", csv_output_file=f"{folder}/out.csv"
    )


def _refused(options: JsonToCsvOptions, *told: str) -> None:
    before = sorted(os.listdir(os.path.dirname(options.csv_output_file)))
    with pytest.raises(UserError) as caught:
        json_to_csv(options)
    assert all(part in str(caught.value) for part in told), str(caught.value)
    assert Path(options.csv_output_file).read_text() == OLD
    assert sorted(os.listdir(os.path.dirname(options.csv_output_file))) == before


def test_the_rows_come_in_the_order_of_the_files_and_their_lines(tmp_path):
    options = _write(tmp_path, [_line("5.jpg"), _line("a,b", (0, 1))], [], [_line("1.jpg", [1], [1])])
    lines: list[str] = []
    assert json_to_csv(options, announce=lines.append) == 3
    assert Path(options.csv_output_file).read_text() == 'Id,Category\n5.jpg,1\n"a,b",0\n1.jpg,1\n'
    assert lines == [f"wrote 3 rows to {tmp_path}/out.csv, from 3 files"]


def test_the_sample_of_the_competition_is_not_written_over(tmp_path):
    options = _write(tmp_path, [_line("5.jpg")])
    (tmp_path / "out.csv").write_text("Id,Category\n5.jpg,0\n")
    with pytest.raises(UserError, match="cannot be written") as refused:
        json_to_csv(dataclasses.replace(options, sample_submission=options.csv_output_file))
    assert "one of the input files" in refused.value.found


def test_a_batch_of_one_as_some_models_of_2017_answered_is_read(tmp_path):
    assert json_to_csv(_write(tmp_path, [_line(["7.jpg"], [[1, 0]], [[0.9, 0.1]])])) == 1
    assert (tmp_path / "out.csv").read_text() == "Id,Category\n7.jpg,1\n"


def test_the_last_line_may_lack_its_end_and_be_followed_by_blank_ones(tmp_path):
    options = _write(tmp_path, [_line("1"), "", _line("2")])
    assert json_to_csv(options) == 2


BAD_LINES = {
    "no JSON": ("{oops", "no JSON"),
    "cut off": (_line()[:-10], "no JSON"),
    "no object": ("[1, 2]", "not an object"),
    "no id": (json.dumps({"class_indexes": [1], "predictions": [1.0]}), "no image_id"),
    "no classes": (json.dumps({"image_id": "1", "predictions": [1.0]}), "no class_indexes"),
    "no predictions": (json.dumps({"image_id": "1", "class_indexes": [1]}), "no predictions"),
    "an empty id": (_line(""), "image_id is not a text"),
    "a number for an id": (_line(17), "image_id is not a text"),
    "half a surrogate pair": ('{"image_id": "\\ud800", "class_indexes": [1], "predictions": [1]}', "surrogate"),
    "no class": (_line("1", [], []), "class_indexes"),
    "a class that is no integer": (_line("1", [0.5, 1]), "class_indexes"),
    "a negative class": (_line("1", [-1, 0]), "class_indexes"),
    "a true class": (_line("1", [True, False]), "class_indexes"),
    "not a number": ('{"image_id": "1", "class_indexes": [1], "predictions": [NaN]}', "finite numbers"),
    "too large a number": (_line("1", [1], [1e300]), "finite numbers"),
    "a text for a number": (_line("1", [1], ["0.9"]), "finite numbers"),
    "more classes than numbers": (_line("1", [1, 0], [0.9]), "2 class_indexes and 1 predictions"),
    "lists in lists in lists": ("[" * 100_000, ""),
    "a list of two ids": (_line(["1", "2"]), "image_id is not a text"),
}


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_bad_line_is_named_with_file_and_number(tmp_path, bad):
    line, reason = BAD_LINES[bad]
    options = _write(tmp_path, [_line("0")], [_line("8"), _line("9"), line])
    _refused(options, "line 3 of", "prediction.results-00001-of-00002", reason)


def test_bytes_that_are_no_text_are_named(tmp_path):
    options = _write(tmp_path, [_line("0")])
    with (tmp_path / "prediction.results-00000-of-00001").open("ab") as file:
        file.write(b'{"image_id": "\xff"}\n')
    _refused(options, "line 2 of", "utf-8")


def test_an_id_that_comes_twice_is_named_with_both_places(tmp_path):
    options = _write(tmp_path, [_line("1"), _line("2")], [_line("3"), "", _line("2")])
    _refused(options, "same id", "'2' is the id in line 2 of", "00000-of-00002 and in line 3 of", "00001-of-00002")


def test_lines_that_are_missing_are_told_by_the_side_file_of_the_prediction(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    options = _write(folder, [_line("1"), _line("2")], [_line("3")])
    names = [path.name for path in folder.glob("prediction.results-*")]
    side = tmp_path / "results.json"
    side.write_text(json.dumps({"rows": 4, "sha256": dict.fromkeys(names, "")}))
    _refused(options, "do not hold all predictions", f"4 rows, by {side}", "3 rows in 2 files")
    for of_something_else in ("{", "[]", json.dumps({"rows": 4, "sha256": {"other": ""}})):
        side.write_text(of_something_else)
        assert json_to_csv(options) == 3


def _write_side_file(folder: Path, rows: int) -> None:
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("prediction.results-*")}
    Path(f"{folder}.json").write_text(json.dumps({"rows": rows, "sha256": digests}))


def test_a_prediction_whose_records_were_all_bad_is_the_header_alone(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    options = _write(folder, [], [])
    _write_side_file(folder, rows=0)
    assert json_to_csv(options) == 0
    assert Path(options.csv_output_file).read_text() == "Id,Category\n"


def test_files_of_two_predictions_are_told_by_the_side_file_of_the_last(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    options = _write(folder, [_line("1")], [_line("2")])
    _write_side_file(folder, rows=2)
    other = folder / "prediction.results-00001-of-00002"
    right = other.read_bytes()
    other.write_text(_line("2", [0, 1]) + "\n")  # of the run before
    _refused(options, "of another run", str(tmp_path / "results.json"), f"1 files: {other}")
    other.write_bytes(right)
    assert json_to_csv(options) == 2


def test_an_integer_is_a_number(tmp_path):
    options = _write(tmp_path, [_line("1", [1], [100_000_001])])
    assert json_to_csv(options) == 1


def test_the_ids_are_compared_with_those_of_a_sample_submission(tmp_path):
    options = _write(tmp_path, [_line("1"), _line("2")], [_line("3")])
    sample = tmp_path / "sample.csv"
    options = JsonToCsvOptions(**{**options.to_json(), "sample_submission": str(sample)})
    sample.write_text("Id,Category\n1,0\n2,0\n4,0\n")
    _refused(options, "not those of the sample", "1 are missing: 4; 1 are not in it: 3")
    sample.write_text("Id,Category\n1,0\n3,0\n2,0\n")
    lines: list[str] = []
    assert json_to_csv(options, announce=lines.append) == 3
    assert "in another order" in lines[0] and "row 2 is 2 here and 3 there" in lines[0]


def test_a_missing_file_is_named(tmp_path):
    options = _write(tmp_path, [_line("1")], [_line("2")], [_line("3")])
    (tmp_path / "prediction.results-00001-of-00003").unlink()
    _refused(options, "missing", "prediction.results-00001-of-00003")


def test_files_of_two_predictions_are_not_mixed(tmp_path):
    _write(tmp_path, [_line("1")])
    _refused(_write(tmp_path, [_line("1")], [_line("2")]), "several batch predictions", "of-00001", "of-00002")


def test_no_file_and_no_prediction_are_told(tmp_path):
    options = _write(tmp_path)
    _refused(options, "No file matches --json_prediction_files_pattern", "--output_path")
    _refused(_write(tmp_path, [], []), "no prediction")


@pytest.mark.parametrize("target", ["prediction.results-00000-of-00001", "nowhere/out.csv", ""])
def test_a_target_that_cannot_be_written_is_refused(tmp_path, target):
    options = _write(tmp_path, [_line()])
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UserError, match="cannot be written"):
        json_to_csv(
            JsonToCsvOptions(
                json_prediction_files_pattern=options.json_prediction_files_pattern,
                csv_output_file=f"{tmp_path}/{target}",
            )
        )
    assert sorted(os.listdir(tmp_path)) == before


def test_a_full_disk_leaves_the_older_file(tmp_path):
    options = _write(tmp_path, [_line(f"{i}.jpg") for i in range(5000)])
    command = [
        sys.executable,
        "-m",
        "launch.convert_prediction_from_json_to_csv",
        f"--json_prediction_files_pattern={options.json_prediction_files_pattern}",
        f"--csv_output_file={options.csv_output_file}",
    ]

    def no_file_beyond_16_kilobytes() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, 16 << 10))

    done = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=no_file_beyond_16_kilobytes, timeout=60
    )
    assert done.returncode == 2 and "cannot be written" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert Path(options.csv_output_file).read_text() == OLD
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "prediction.results-00000-of-00001"]


@pytest.mark.parametrize(("output_format", "second"), [("probability", "1.jpg,0.9"), ("top_k", "1.jpg,1:0.9")])
def test_the_other_forms_have_the_same_header(tmp_path, output_format, second):
    options = _write(tmp_path, [_line()])
    json_to_csv(JsonToCsvOptions(**{**options.to_json(), "output_format": output_format, "top_k": 1}))
    assert (tmp_path / "out.csv").read_text() == f"Id,Category\n{second}\n"


def test_the_answer_to_a_line_cannot_be_of_both_kinds(tmp_path):
    with pytest.raises(DataError):
        json_to_csv(_write(tmp_path, [_line(["7.jpg"], [1, 0], [0.9, 0.1])]))
