from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from estimators.checkpoints.checkpoint_files import list_checkpoints
from estimators.errors import InfrastructureError
from estimators.experiment import Experiment
from estimators.preparation import prepare_run
from estimators.train_dir import experiment_file, generation
from estimators.train_dir.generation import FencedError, begin_generation, check_generation, current_generation
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


@pytest.mark.parametrize("seen", [None, 1])
def test_a_folder_that_does_not_know_of_a_generation_is_not_its_run_s(
    tmp_path: Path, seen: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "_STALE_SECS", 0.1)
    for _ in range(seen or 0):
        begin_generation(str(tmp_path))
    with pytest.raises(InfrastructureError, match="is not the folder of this run") as caught:
        check_generation(str(tmp_path), 2)
    assert "generation 2" in caught.value.asked and "mount" in caught.value.change
    assert ("no generation.json" in caught.value.found) == (seen is None)
    with pytest.raises(InfrastructureError, match="--train_dir is gone"):
        check_generation(str(tmp_path / "gone"), 2)


def test_a_folder_that_is_seen_late_as_it_is_ends_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "_STALE_SECS", 30.0)
    begin_generation(str(tmp_path))
    late = threading.Timer(0.7, begin_generation, [str(tmp_path)])
    late.start()
    check_generation(str(tmp_path), 2)
    late.join()


def test_a_later_generation_is_believed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "_STALE_SECS", 30.0)
    begin_generation(str(tmp_path))
    began = time.monotonic()
    with pytest.raises(FencedError):
        check_generation(str(tmp_path), 0)
    assert time.monotonic() - began < 5


def test_a_folder_that_is_emptied_still_knows_who_wrote_there_before(tmp_path: Path) -> None:
    options = small_options(tmp_path)
    experiment_file.begin(options, start_new_model=False)
    old = begin_generation(options.train_dir)
    experiment_file.begin(options, start_new_model=True)
    assert begin_generation(options.train_dir) > old


def test_no_process_trains_in_an_empty_folder_in_the_place_of_the_run_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "_STALE_SECS", 0.1)
    options = small_options(tmp_path, max_steps=8)
    plan = prepare_run(options, strategy="local", start_new_model=False, announce=lambda line: None)
    (tmp_path / "run" / "logs").mkdir(parents=True)  # as a role does that opens its log
    for role in ("chief", "worker"):
        with pytest.raises(InfrastructureError, match="is not the folder of this run"):
            Experiment(options, plan, role, 0, str(tmp_path / "scratch"), Recorder(), 3).train()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["logs"]


def test_a_chief_that_was_given_up_writes_no_checkpoint_any_more(tmp_path: Path) -> None:
    options = small_options(tmp_path, max_steps=8, save_checkpoints_steps=2)
    plan = prepare_run(options, strategy="local", start_new_model=False, announce=lambda line: None)
    experiment_file.begin(options, start_new_model=False)
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
