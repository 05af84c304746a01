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


def test_drawing_needs_neither_tensorflow_nor_ray(tmp_path):
    program = (
        "import sys; from launch.prepare_data import main; main(); "
        "sys.exit(str([name for name in ('tensorflow', 'ray') if name in sys.modules]))"
    )
    command = [sys.executable, "-c", program, "--synthetic=10", f"--output={tmp_path}/data"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.stderr.strip() == "[]", finished.stderr
