from __future__ import annotations

from pathlib import Path

import pytest

from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.dry_run import dry_run
from estimators.errors import HarnessError, InfeasibleError, UserError
from estimators.experiment_options import ExperimentOptions
from tests.estimators.small_run import small_options, train


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def shown(options: ExperimentOptions, cluster: ClusterOptions, *, start_new_model: bool = False) -> list[str]:
    """The lines of a dry run, which leaves every file as it was."""
    folder = Path(options.train_data_pattern).parents[1]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    lines: list[str] = []
    try:
        dry_run(options, cluster, start_new_model=start_new_model, announce=lines.append)
    finally:
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    return lines


def row(lines: list[str], role: str) -> list[str]:
    (line,) = [line for line in lines if line.startswith(role)]
    return line.split()


def test_the_plan_of_a_local_run_is_shown(tmp_path: Path) -> None:
    options = small_options(tmp_path, max_steps=7)
    lines = shown(options, ClusterOptions())
    assert any(line.startswith("steps") and "7; the run begins at step 0" in line for line in lines)
    assert row(lines, "chief-0")[2:] == ["all", "all", "3", "24"]
    assert "the graph of model and loss" in lines[-1] and "Nothing was written" in lines[-1]
    assert not Path(options.train_dir).exists()


def test_each_role_is_shown_with_its_share(tmp_path: Path) -> None:
    options = small_options(tmp_path, eval_data_pattern=f"{tmp_path}/data/validation-*")
    cluster = ClusterOptions(strategy="parameter_server", num_workers=2, num_parameter_servers=1, cpus_per_worker=0.5)
    lines = shown(options, cluster)
    assert row(lines, "role") == ["role", "node", "CPUs", "GPUs", "files", "examples"]
    assert [row(lines, role)[2:] for role in ("chief-0", "worker-0", "ps-0", "evaluator-0")] == [
        ["0.5", "0", "2", "16"],
        ["0.5", "0", "1", "8"],
        ["0.5", "0"],
        ["0.5", "0", "2", "10"],
    ]
    assert "room on this machine" in lines[-1]


def test_a_run_that_would_be_continued_is_shown_as_that(tmp_path: Path) -> None:
    options = small_options(tmp_path, max_steps=4)
    train(options)
    assert any("has reached step 4 already" in line for line in shown(options, ClusterOptions()))
    more = small_options(tmp_path, max_steps=9)
    assert any("9; the run goes on from step 4" in line for line in shown(more, ClusterOptions()))
    anew = shown(more, ClusterOptions(), start_new_model=True)
    assert any("9; the run begins at step 0" in line for line in anew)
    assert any(line.startswith("train_dir") and line.endswith("emptied first") for line in anew)


def test_a_cluster_that_is_not_up_is_planned_by_its_file(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").touch()
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", str(home))
    file = tmp_path / "cluster.yaml"
    file.write_text((root / "cluster.yaml").read_text().replace("project_id: null", "project_id: mine"))
    options = small_options(tmp_path)

    def planned(**cluster: object) -> list[str]:
        asked = {"strategy": "multi_worker_mirrored", "num_workers": 2, "cluster_file": str(file), **cluster}
        return shown(options, ClusterOptions(**asked))  # type: ignore[arg-type]

    # More than this machine has; another one is asked for.
    lines = planned(gpus_per_worker=4, cpus_per_worker=32)
    assert any(line.split()[:3] == ["machines", "2", "gpu_4,"] for line in lines)
    assert row(lines, "worker-0") == ["worker-0", "32", "4", "1", "8"]
    assert lines[-1].startswith("\nchecked: --cluster_file, flags") and "this machine" not in lines[-1]
    with pytest.raises(InfeasibleError, match="8 gpu_1"):
        planned(gpus_per_worker=8)
    assert not Path(options.train_dir).exists()


@pytest.mark.parametrize(
    ("values", "cluster", "error", "said"),
    [
        ({"label_loss": "SoftmaxLoss"}, {}, UserError, "does not fit"),
        ({"model": "Logistic"}, {}, UserError, "No model"),
        ({}, {"strategy": "multi_worker_mirrored", "cpus_per_worker": 1000.0}, InfeasibleError, "1000 CPUs"),
        ({}, {"strategy": "mirrored"}, InfeasibleError, "sees no GPU"),
    ],
)
def test_what_the_run_would_end_with_is_told(
    tmp_path: Path, values: dict[str, str], cluster: dict[str, object], error: type[HarnessError], said: str
) -> None:
    with pytest.raises(error, match=said):
        shown(small_options(tmp_path, **values), ClusterOptions(**cluster))  # type: ignore[arg-type]
