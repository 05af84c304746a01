"""Several processes evaluate as one does: on a real Ray, with stand-ins for the workers and with real ones."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from cvd_cluster.errors import RoleError
from cvd_cluster.evaluation.evaluation_job import evaluate_on_cluster, team_size
from cvd_cluster.evaluation.evaluation_team import EvaluationTeam, check_complete
from cvd_cluster.ray_session import ray_session
from estimators.checkpoints.checkpoint_files import Checkpoint, read_metrics
from estimators.errors import DataError, InfeasibleError, InfrastructureError
from estimators.evaluation.checkpoint_evaluator import EvaluationReport, UnreadableCheckpointError
from estimators.evaluation.evaluation_options import EvaluationOptions
from estimators.evaluation.evaluation_run import evaluate_train_dir
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles
from estimators.train_dir.experiment_file import write_experiment
from estimators.train_dir.run_state import RunState, write_run_state
from tests.cvd_cluster.made_evaluation_worker import MadeWorker
from tests.estimators.drawn_records import cut, flip, numbered_file, offset_of, record, write_file
from tests.estimators.small_run import small_options, train

CHECKPOINT = Checkpoint(4, "/run/model.ckpt-4")


@pytest.fixture(scope="module")
def _one_ray() -> Iterator[None]:
    """A Ray that all evaluations here join, so that not each waits for its own."""
    with ray_session(cpus_needed=3, announce=print):
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ExperimentOptions:
    """Of a run with checkpoints; its validation data are 10 pictures in 2 files."""
    options = small_options(tmp_path_factory.mktemp("evaluation"), max_steps=4, save_checkpoints_steps=2)
    train(options)
    write_run_state(options.train_dir, RunState.SUCCEEDED, 4)
    return options


# --- without Ray


def evaluation(options: ExperimentOptions, **values: Any) -> EvaluationOptions:
    pattern = str(Path(options.train_data_pattern).parent / "validation-*")
    return EvaluationOptions(**{"train_dir": options.train_dir, "eval_data_pattern": pattern, **values})


def test_no_worker_is_started_that_would_have_no_batch() -> None:
    lines: list[str] = []
    options = EvaluationOptions(train_dir="/run", eval_data_pattern="/data/*")

    def size(examples: int, batch_size: int, workers: int) -> int:
        asked = dataclasses.replace(options, batch_size=batch_size, eval_workers=workers)
        return team_size(asked, examples, lines.append)

    assert size(12, 4, 3) == 3 and size(9, 4, 3) == 3 and size(4000, 1024, 4) == 4 and not lines
    assert size(10, 4, 4) == 3 and "3 of --eval_workers=4 have work; all have with --batch_size=2" in lines[0]
    assert size(600, 1024, 3) == 1 and "600 examples are 1 batches of --batch_size=1024" in lines[1]
    for examples, workers in itertools.product(range(2, 30), range(2, 30)):
        if workers <= examples:
            lines.clear()
            size(examples, 1000, workers)
            assert size(examples, int(lines[0].rpartition("=")[2]), workers) == workers


def test_every_record_must_be_evaluated_or_skipped_once() -> None:
    data = DataFiles(("a", "b"), (6, 4))
    for examples, skipped in ((10, 0), (9, 1), (0, 10), (10, 2)):  # the rest of both files may be unreadable
        check_complete(examples, skipped, data)
    for examples, skipped in ((9, 0), (11, 0), (8, 1), (10, 3), (20, 0)):
        with pytest.raises(DataError) as caught:
            check_complete(examples, skipped, data)
        assert "10 records in 2 files" in caught.value.asked
        assert f"{examples} evaluated and {skipped} skipped" in caught.value.found


def test_more_workers_than_this_machine_holds_are_refused_before_ray_starts(
    trained: ExperimentOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not ray.is_initialized()
    asked = evaluation(trained, eval_workers=2, batch_size=5, gpus_per_worker=99)
    with pytest.raises(InfeasibleError) as caught:
        evaluate_on_cluster(asked, line=print)
    assert "evaluator-1" in caught.value.asked and "--gpus_per_worker" in caught.value.change
    assert not ray.is_initialized()


# --- stand-ins for the workers


class MadeRoom:
    """The bundles of the workers, which do not find a node again if that is so."""

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole

    def wait_until_whole(self, seconds: float, *, pause: Callable[[], object]) -> bool:
        assert seconds == 7.0
        return self._whole

    def check_served(self) -> None:
        pass


@contextlib.contextmanager
def team(
    *generations: dict[int, Any], examples: int = 5, lines: list[str], room: bool = True
) -> Iterator[EvaluationTeam]:
    """Two workers, of 1 and 2 pictures; of the second one each generation does what it is told."""
    behaviour = iter(generations)
    actor_class = ray.remote(num_cpus=0, max_restarts=0)(MadeWorker)
    workers = EvaluationTeam(
        lambda index: actor_class.remote(index, next(behaviour) if index == 1 else {}),
        2,
        MadeRoom(whole=room),  # type: ignore[arg-type]
        DataFiles(("f",), (examples,)),
        EvaluationReport(lines.append, lambda: None),
        placement_timeout_secs=7.0,
    )
    try:
        yield workers
    finally:
        workers.stop()


def end(actor: Any) -> None:
    """Ends an actor for good: `ray.kill` returns before it is gone, so that it may answer once more."""
    ray.kill(actor)
    with contextlib.suppress(ray.exceptions.RayActorError):
        while True:
            ray.get(actor.load.remote(), timeout=60)


def told(lines: list[str]) -> list[str]:
    """What was said of workers that died; and that each part was told of once."""
    assert len([line for line in lines if line.startswith("examples_processed")]) == 2
    found = [line for line in lines if " died " in line]
    lines.clear()
    return found


@pytest.mark.usefixtures("_one_ray")
class TestWithMadeWorkers:
    def test_the_parts_are_one_evaluation_and_a_worker_that_died_since_the_last_one_is_replaced(self) -> None:
        lines: list[str] = []
        with team({}, {}, lines=lines) as workers:
            workers.wait_until_loaded()
            result = workers.evaluate(CHECKPOINT)
            assert (result.examples, result.loss) == (3, 4.0)
            # A line for each part, as it comes; then in the order of the workers, and the count of all passes.
            assert all(" | global_step 4 | " in line for line in lines[:2])
            assert lines[1].startswith("examples_processed: 3 | ")
            assert lines[2:4] == ["skipped a bad record: of 0", "skipped a bad record: of 1"]
            assert lines[4].startswith("bad records skipped: 2 ")
            assert told(lines) == []

            end(workers._workers[1])
            assert workers.evaluate(CHECKPOINT) == result
            assert lines[-1].startswith("bad records skipped: 4 ") and len(told(lines)) == 1

    def test_a_worker_that_dies_is_replaced_once_in_each_evaluation(self) -> None:
        lines: list[str] = []
        with team({0: "die"}, {1: "die"}, {0: "die"}, lines=lines) as workers:
            assert workers.evaluate(CHECKPOINT).examples == 3
            (line,) = told(lines)
            assert line.startswith("evaluation worker 1 died") and "its part of step 4 again" in line
            with pytest.raises(InfrastructureError) as caught:
                workers.evaluate(CHECKPOINT)
        assert "worker 1 died, and so did the one" in caught.value.summary and "step 4" in caught.value.asked
        assert "--eval_workers" in caught.value.change

    def test_a_worker_whose_node_is_gone_for_good_ends_the_evaluation(self) -> None:
        with team({0: "die"}, lines=[], room=False) as workers, pytest.raises(InfrastructureError) as caught:
            workers.evaluate(CHECKPOINT)
        assert "no room for evaluation worker 1" in caught.value.summary
        assert "--placement_timeout_secs=7" in caught.value.asked and "--eval_workers" in caught.value.change

    def test_the_error_of_a_worker_is_that_of_the_evaluation_and_the_next_one_may_succeed(self) -> None:
        happens = {0: UnreadableCheckpointError("it is gone", asked="x"), 1: DataError("a bad record")}
        with team(happens, examples=6, lines=[]) as workers:
            with pytest.raises(UnreadableCheckpointError) as caught:
                workers.evaluate(CHECKPOINT)
            assert caught.value.asked == "x"
            with pytest.raises(DataError, match="a bad record"):
                workers.evaluate(CHECKPOINT)
            with pytest.raises(DataError, match="do not add up"):
                workers.evaluate(CHECKPOINT)


# --- real workers


def rows(options: ExperimentOptions) -> list[dict[str, Any]]:
    found = [{name: value for name, value in row.items() if name != "time"} for row in read_metrics(options.train_dir)]
    Path(options.train_dir, "eval", "metrics.jsonl").unlink()
    return found


def by_one_and_by_several(
    options: ExperimentOptions, workers: int, **values: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str], list[str]]:
    """The rows of one process and of several, and what the two say of bad records."""
    by_one: list[str] = []
    by_several: list[str] = []
    evaluate_train_dir(evaluation(options, **values), line=by_one.append)
    one = rows(options)
    evaluate_on_cluster(evaluation(options, eval_workers=workers, **values), line=by_several.append)
    of_bad = [[line for line in lines if "skipped" in line] for lines in (by_one, by_several)]
    return one, rows(options), of_bad[0], of_bad[1]


@pytest.mark.usefixtures("_one_ray")
class TestWithRealWorkers:
    def test_bad_records_are_skipped_once_by_all_together_and_the_numbers_are_those_of_one(
        self, trained: ExperimentOptions, tmp_path: Path
    ) -> None:
        paths = [numbered_file(tmp_path / f"v-{i}", range(60 * i, 60 * i + 12)) for i in range(3)]
        flip(paths[0], offset_of(map(record, range(2))) + 40)
        cut(paths[1], offset_of(map(record, range(60, 70))) + 20)
        write_file(tmp_path / "v-3", [record(50), record(51, label=7), record(52, label=7)])
        one, several, said_by_one, said_by_several = by_one_and_by_several(
            trained, 3, batch_size=4, on_bad_record="skip", eval_data_pattern=f"{tmp_path}/v-*", run_once=True
        )
        assert one == several and one[0]["examples"] == 34
        assert sorted(said_by_one) == sorted(said_by_several)
        assert [line for line in said_by_several if line.startswith("bad records skipped: 4 ")]

    def test_a_bad_record_ends_evaluation_and_is_named_and_paths_may_be_relative(
        self, trained: ExperimentOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_file(tmp_path / "v", [*map(record, range(9)), record(9, label=7)])
        monkeypatch.chdir(tmp_path)
        train_dir = os.path.relpath(trained.train_dir)
        asked = evaluation(trained, train_dir=train_dir, eval_data_pattern="v", eval_workers=2, batch_size=2)
        with pytest.raises(DataError) as caught:
            evaluate_on_cluster(asked, line=lambda line: None)
        assert "9.jpg" in caught.value.found and path in caught.value.found
        assert "--eval_data_pattern" in caught.value.change and read_metrics(trained.train_dir) == []

    def test_an_error_of_a_loss_is_told_with_its_place_before_there_is_a_checkpoint(
        self, trained: ExperimentOptions, tmp_path: Path
    ) -> None:
        write_experiment(dataclasses.replace(trained, train_dir=str(tmp_path)))
        broken = "tests.integration.evaluation_models:BrokenLoss"
        asked = evaluation(trained, train_dir=str(tmp_path), label_loss=broken, eval_workers=2, batch_size=5)
        with pytest.raises(RoleError) as caught:
            evaluate_on_cluster(asked, line=lambda line: None)
        assert "in calculate_loss" in caught.value.found and "KeyError: 'forgotten'" in caught.value.found
