from __future__ import annotations

from pathlib import Path

import pytest

from estimators import train_dir
from estimators.checkpoints import list_checkpoints
from estimators.experiment import Experiment
from estimators.generation import FencedError, begin_generation, check_generation, current_generation
from estimators.preparation import prepare_run
from tests.estimators.small_run import Recorder, small_options


def test_generations_are_counted_over_all_runs_in_a_folder(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert current_generation(folder) == 0
    assert [begin_generation(folder) for _ in range(3)] == [1, 2, 3] and current_generation(folder) == 3
    (tmp_path / "generation.json").write_text("half a li")
    assert current_generation(folder) == 0


def test_only_the_latest_generation_may_write(tmp_path: Path) -> None:
    first, second = begin_generation(str(tmp_path)), begin_generation(str(tmp_path))
    check_generation(str(tmp_path), second)
    with pytest.raises(FencedError) as caught:
        check_generation(str(tmp_path), first)
    assert "generation 1" in caught.value.asked and "generation 2" in caught.value.found
    assert caught.value.exit_code == 3


def test_a_folder_that_is_emptied_still_knows_who_wrote_there_before(tmp_path: Path) -> None:
    options = small_options(tmp_path)
    train_dir.begin(options, start_new_model=False)
    old = begin_generation(options.train_dir)
    train_dir.begin(options, start_new_model=True)
    assert begin_generation(options.train_dir) > old


def test_a_chief_that_was_given_up_writes_no_checkpoint_any_more(tmp_path: Path) -> None:
    options = small_options(tmp_path, max_steps=8, save_checkpoints_steps=2)
    plan = prepare_run(options, strategy="local", start_new_model=False, announce=lambda line: None)
    train_dir.begin(options, start_new_model=False)
    own = begin_generation(options.train_dir)

    class TakenOver(Recorder):
        """Another generation takes over while this one trains."""

        def checkpoint_saved(self, global_step: int) -> None:
            super().checkpoint_saved(global_step)
            if global_step == 4:
                begin_generation(options.train_dir)

    reporter = TakenOver()
    with pytest.raises(FencedError):
        Experiment(options, plan, "chief", 0, str(tmp_path / "scratch"), reporter, own).train()
    assert [one.step for one in list_checkpoints(options.train_dir)] == [0, 2, 4] and not reporter.finished
