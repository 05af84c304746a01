"""What is continued from when checkpoints are torn; nothing is ever deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from estimators.checkpoints.checkpoint_files import latest_checkpoint
from estimators.checkpoints.torn_checkpoints import check_sound, ensure_named, look, set_torn_aside
from estimators.errors import UserError
from tests.estimators.made_checkpoints import DATA, name_newest, write_checkpoint


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with checkpoints of steps 10, 20 and 30."""
    for step in (10, 20, 30):
        write_checkpoint(tmp_path, step)
    name_newest(tmp_path, 30)
    return tmp_path


def data(run: Path, step: int) -> Path:
    return run / f"model.ckpt-{step}.data-00000-of-00001"


def named(run: Path) -> str:
    return (run / "checkpoint").read_text().splitlines()[0]


def settled(run: Path) -> list[str]:
    lines: list[str] = []
    set_torn_aside(str(run), announce=lines.append)
    return lines


def test_a_sound_folder_is_left_as_it_is(run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert settled(run) == []
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_training_goes_on_from_the_newest_that_is_sound(run: Path) -> None:
    (run / "model.ckpt-30.index").write_bytes(b"")
    data(run, 20).write_bytes(DATA[:-3])
    lines = settled(run)
    assert len(lines) == 2
    assert "step 30" in lines[0] and "model.ckpt-30.index is cut short" in lines[0]
    assert "model.ckpt-20.data-00000-of-00001 is cut short: 22 of 25 bytes" in lines[1]
    assert all("goes on from step 10" in line and f"{run}/torn/1" in line for line in lines)
    assert named(run) == 'model_checkpoint_path: "model.ckpt-10"'
    assert sorted(path.name for path in run.glob("model.ckpt-*")) == [
        f"model.ckpt-10.{end}" for end in ("data-00000-of-00001", "index", "meta")
    ]
    assert (run / "torn" / "1" / data(run, 20).name).read_bytes() == DATA[:-3], "nothing is lost"
    assert len(list((run / "torn" / "1").iterdir())) == 6


def test_a_second_time_keeps_what_the_first_set_aside(run: Path) -> None:
    for content in (b"first", b"second"):
        write_checkpoint(run, 30)
        data(run, 30).write_bytes(content)
        settled(run)
    assert [(run / "torn" / str(n) / data(run, 30).name).read_bytes() for n in (1, 2)] == [b"first", b"second"]


def test_a_look_writes_nothing(run: Path) -> None:
    data(run, 30).write_bytes(b"")
    before = sorted(path.name for path in run.iterdir())
    found = look(str(run))
    assert found.newest is not None and found.newest.step == 20 and list(found.flaws) == [30]
    assert sorted(path.name for path in run.iterdir()) == before


def test_a_missing_index_does_not_make_training_begin_anew(run: Path) -> None:
    # TensorFlow takes a checkpoint without an index, named in `checkpoint`, for no checkpoint at all.
    (run / "model.ckpt-30.index").unlink()
    assert "model.ckpt-30.index is missing" in settled(run)[0]
    assert named(run) == 'model_checkpoint_path: "model.ckpt-20"'


@pytest.mark.parametrize("state", ['model_checkpoint_path: "model.ckpt-10"\n', "", "garbage", None])
def test_the_newest_sound_one_is_named_whatever_was_named_before(run: Path, state: str | None) -> None:
    (run / "checkpoint").unlink()
    if state is not None:
        (run / "checkpoint").write_text(state)
    assert settled(run) == []
    assert named(run) == 'model_checkpoint_path: "model.ckpt-30"'


@pytest.mark.parametrize(
    ("before", "after"), [("model.ckpt-40", "model.ckpt-30"), ("", "model.ckpt-30"), ("model.ckpt-20", "model.ckpt-20")]
)
def test_a_name_of_what_is_not_there_is_replaced_and_any_other_is_left(run: Path, before: str, after: str) -> None:
    (run / "checkpoint").write_text(f'model_checkpoint_path: "{before}"\n')
    newest = latest_checkpoint(str(run))
    assert newest is not None
    ensure_named(str(run), newest)
    assert named(run) == f'model_checkpoint_path: "{after}"'


def test_if_none_is_sound_that_is_an_error_and_nothing_is_written(run: Path) -> None:
    for step in (10, 20, 30):
        data(run, step).unlink()
    before = sorted(path.name for path in run.iterdir())
    for attempt in (check_sound, set_torn_aside):
        with pytest.raises(UserError, match="No checkpoint in --train_dir is sound") as caught:
            attempt(str(run))
        assert all(f"step {step}: model.ckpt-{step}.data" in caught.value.found for step in (10, 20, 30))
        assert "--start_new_model" in caught.value.change
    assert sorted(path.name for path in run.iterdir()) == before


def test_a_run_that_was_killed_as_it_saved_its_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 0, index=b"")
    (tmp_path / "model.ckpt-0_temp").mkdir()
    assert "training begins at step 0" in settled(tmp_path)[0]
    assert [path.name for path in tmp_path.iterdir()] == ["torn"]


def test_a_folder_without_checkpoints_needs_nothing(tmp_path: Path) -> None:
    assert settled(tmp_path) == [] and list(tmp_path.iterdir()) == []
    assert look(str(tmp_path / "missing")).newest is None
