from __future__ import annotations

import subprocess
import sys

import pytest

from launch import prepare_data
from launch.flags import run_command


def _run(monkeypatch, *flags: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["launch.prepare_data", *flags])
    with pytest.raises(SystemExit) as ended:
        run_command(prepare_data.main)
    return ended.value.code


def test_a_small_data_set_is_drawn_and_its_files_are_named(tmp_path, monkeypatch, capsys):
    assert _run(monkeypatch, "--synthetic=10", f"--output={tmp_path}/data", "--num_shards=1") == 0
    printed = capsys.readouterr().out
    assert f"6 pictures in {tmp_path}/data/train/train-*" in printed
    assert (tmp_path / "data/test/test-00000-of-00001").exists()


def test_an_output_folder_in_use_is_refused_and_left_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine").write_text("x")
    assert _run(monkeypatch, "--synthetic=10", f"--output={tmp_path}") == 2
    printed = capsys.readouterr().err
    assert f"--output={tmp_path}" in printed and "mine" in printed and "Traceback" not in printed
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_too_few_pictures_are_refused(tmp_path, monkeypatch, capsys):
    assert _run(monkeypatch, "--synthetic=3", f"--output={tmp_path}/data") == 2
    assert "--synthetic must be at least 10" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "Exactly one of --input, --synthetic, --check must be given"),
        (("--output=x",), "none of them"),
        (("--synthetic=10", "--input=x", "--output=y"), "--input=x and --synthetic=10"),
        (("--input=x", "--check=y"), "Exactly one of"),
        (("--synthetic=10",), "--output is missing"),
        (("--input=x",), "--output is missing"),
        (("--input=x", "--output=y", "--num_classes=3"), "--num_classes does not go with --input"),
        (("--synthetic=10", "--output=y", "--max_rejected=3"), "--max_rejected does not go with --synthetic"),
        (("--synthetic=10", "--output=y", "--unlabelled"), "--unlabelled does not go with --synthetic"),
        (("--input=x", "--output=y", "--unlabelled", "--test_fraction=0.2"), "--test_fraction does nothing beside"),
        (("--check=x", "--output=y"), "--output does not go with --check"),
        (("--check=x", "--num_classes=1"), "--num_classes must be at least 2"),
        (("--input=x", "--output=y", "--max_rejected=-1"), "--max_rejected must be at least 0"),
        (("--input=x", "--output=y", "--max_rejected=many"), "--max_rejected"),
        (("--input=x", "--output=y", "--validation_fraction=0.7", "--test_fraction=0.3"), "less than 1"),
        (("--input=x", "--output=y", "--num_shards=0"), "--num_shards must be at least 1"),
    ],
)
def test_flags_that_do_not_fit_are_refused_and_nothing_is_written(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert _run(monkeypatch, *flags) == 2
    assert message in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [("--input=x", "--output=/y"), ("--input=/x", "--output=y"), ("--check=x/*",)])
def test_in_a_ray_job_paths_must_be_absolute(flags, monkeypatch, capsys):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert _run(monkeypatch, *flags) == 2
    assert "A relative path in a Ray job" in capsys.readouterr().err


def test_help_groups_the_flags_and_says_what_needs_what(monkeypatch, capsys):
    assert _run(monkeypatch, "--help") == 0
    printed = " ".join(capsys.readouterr().out.split())
    for text in (
        "--input TEXT",
        "--check TEXT",
        "(one of these is required)",
        "(required with --input and --synthetic)",
    ):
        assert text in printed


def test_bad_photos_are_refused_before_ray_starts(tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    assert _run(monkeypatch, f"--input={tmp_path}/empty", f"--output={tmp_path}/set") == 2
    printed = capsys.readouterr().err
    assert "There is no picture to convert" in printed and "Traceback" not in printed
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_drawn_data_set_passes_the_check_and_a_damaged_one_ends_with_2(tmp_path, monkeypatch, capsys):
    assert _run(monkeypatch, "--synthetic=10", f"--output={tmp_path}/data") == 0
    assert _run(monkeypatch, f"--check={tmp_path}/data/*/*") == 0
    assert "10 records in 8 files: no fault" in capsys.readouterr().out
    shard = tmp_path / "data" / "train" / "train-00000-of-00004"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert _run(monkeypatch, f"--check={tmp_path}/data/*/*") == 2
    captured = capsys.readouterr()
    assert "The data set has faults" in captured.err and "cut short" in captured.out


def test_drawing_needs_neither_tensorflow_nor_ray(tmp_path):
    program = (
        "import sys; from launch.prepare_data import main; main(); "
        "sys.exit(str([name for name in ('tensorflow', 'ray') if name in sys.modules]))"
    )
    command = [sys.executable, "-c", program, "--synthetic=10", f"--output={tmp_path}/data"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.stderr.strip() == "[]", finished.stderr
