"""The same command as a job on a cluster that `ray start` and `ray job submit` know."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from cvd_cluster.job_submission import MOST_BYTES
from estimators.checkpoints.checkpoint_files import latest_checkpoint
from tests.integration.commands import (
    MARK,
    Finished,
    command_environment,
    end_processes_with,
    free_port,
    roles_left_behind,
    roles_with,
    run_command,
    running_command,
)
from tests.integration.tunnel import tunnel_to

_ROOT = Path(__file__).parents[2]
_RAY = str(Path(sys.executable).with_name("ray"))
_ADDRESS = "127.0.0.2"


def _folder(mark: str) -> Path:
    # Not pytest's long folder: a Unix socket's path has at most 107 bytes.
    return Path("/tmp") / f"cvd-{mark[:8]}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`ray start --head`, as a person types it; yields the environment in which its address and token are known."""
    mark, gcs, dashboard, agent = uuid.uuid4().hex, free_port(_ADDRESS), free_port(_ADDRESS), free_port(_ADDRESS)
    env = command_environment(
        mark,
        {
            # The job runs the first python on the PATH of `ray start`.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        },
    )
    folder = _folder(mark)
    command = [
        _RAY, "start", "--head", f"--node-ip-address={_ADDRESS}", f"--port={gcs}", f"--dashboard-host={_ADDRESS}",
        f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}", f"--temp-dir={folder}",
        "--num-cpus=4",
        # Away from the ports that are taken above, and from those that the system gives out.
        "--min-worker-port=10002", "--max-worker-port=19999",
    ]  # fmt: skip
    made = {**env, "RAY_ADDRESS": f"http://{_ADDRESS}:{dashboard}", "GCS": f"{_ADDRESS}:{gcs}"}
    try:
        started = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert started.returncode == 0, started.stdout + started.stderr
        _await_jobs(made)
        yield made
    finally:
        end_processes_with(mark)
        _remove(folder)


def _await_jobs(cluster: dict[str, str]) -> None:
    # The job server and the agent that starts jobs come up some seconds after `ray start` returned.
    until = time.monotonic() + 120
    while (tried := _ray(cluster, "job", "submit", "--", "true")).returncode != 0:
        assert time.monotonic() < until, tried.stdout + tried.stderr
        time.sleep(1)


def _remove(folder: Path) -> None:
    # Ray's agents give themselves other titles, which overwrites the environment by which they would be found; they
    # write on until they miss their raylet.
    until = time.monotonic() + 60
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        assert time.monotonic() < until, f"{folder} is written into without end"
        time.sleep(0.2)


def _submit(
    cluster: dict[str, str], command: str, *flags: str, job: str | None = None, cwd: Path | None = None
) -> Finished:
    named = () if job is None else (f"--job={job}",)
    address = f"--address={cluster['RAY_ADDRESS']}"
    return run_command("launch.submit", command, address, *named, "--", *flags, env=cluster, timeout=240, cwd=cwd)


def _ray(cluster: dict[str, str], *arguments: str, cwd: Path = _ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [_RAY, *arguments], env=cluster, cwd=cwd, capture_output=True, text=True, timeout=240, check=False
    )


MINE = {
    "my_models.py": """
import tensorflow as tf
from estimators import BaseModel

class MyModel(BaseModel):
    def create_model(self, model_input, num_classes=2, is_training=True, units=8, **params):
        net = tf.compat.v1.layers.dense(tf.compat.v1.layers.flatten(model_input), units, activation=tf.nn.relu)
        return {"predictions": tf.compat.v1.layers.dense(net, 1, activation=tf.nn.sigmoid)}
""",
    "my_losses.py": """
import tensorflow as tf
from estimators import BaseLoss

class MyLoss(BaseLoss):
    def calculate_loss(self, predictions, labels, **params):
        return tf.reduce_mean(tf.square(labels - predictions))
""",
}


@pytest.mark.parametrize("way", [pytest.param("launch.submit", marks=pytest.mark.slow), "ray job submit"])
def test_training_runs_as_a_job_with_the_model_and_the_loss_of_the_folder_it_is_sent_from(
    cluster: dict[str, str], photos: Path, tmp_path: Path, way: str
) -> None:
    (tmp_path / "mine").mkdir()
    for name, text in MINE.items():
        (tmp_path / "mine" / name).write_text(text)
    flags = (
        f"--train_data_pattern={photos}/catsvsdogs/train/*",
        f"--train_dir={tmp_path}/run",
        "--model=my_models:MyModel",
        "--model_params=units=4",
        "--label_loss=my_losses:MyLoss",
        "--batch_size=64",
        "--max_steps=20",
        "--strategy=multi_worker_mirrored",
        "--num_workers=2",
    )
    if way == "launch.submit":
        done = _submit(cluster, "train", *flags, cwd=tmp_path / "mine")
        code, output = done.code, done.output
    else:
        sent = ["job", "submit", "--working-dir", ".", "--", "python", "-m", "launch.train", *flags]
        plain = _ray(cluster, *sent, cwd=tmp_path / "mine")
        code, output = plain.returncode, plain.stdout + plain.stderr
    assert code == 0, output
    assert "training step 20" in output and "steps made: chief-0 20" in output
    assert " succeeded" in output
    assert (tmp_path / "run" / "export" / "step_20").is_dir()


@pytest.mark.slow
def test_a_dry_run_looks_at_the_cluster_and_leaves_nothing(
    cluster: dict[str, str], photos: Path, tmp_path: Path
) -> None:
    flags = (
        f"--train_data_pattern={photos}/catsvsdogs/train/*",
        f"--train_dir={tmp_path}/a/run",
        "--strategy=parameter_server",
        "--num_parameter_servers=1",
        "--dry_run",
    )
    done = _submit(cluster, "train", *flags, "--num_workers=2")
    told = done.output
    assert done.code == 0, told
    assert "versions, data and --train_dir on every node" in told and "Nothing was written" in told
    assert re.search(r"^ps-0 +\S+ +1 +0$", told, re.M) and re.search(r"^worker-0 +\S+ +1 +0 +\d+ +\d+$", told, re.M)
    assert list(tmp_path.iterdir()) == []

    too_large = _submit(cluster, "train", *flags, "--num_workers=9")
    assert too_large.code == 4, too_large.output
    assert "The cluster cannot hold this run" in too_large.output and "no room for" in too_large.output
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_fails_hands_its_exit_code_on_and_can_be_read_again(cluster: dict[str, str], photos: Path) -> None:
    done = _submit(cluster, "train", f"--train_data_pattern={photos}/catsvsdogs/train/*", "--train_dir=run", job="bad")
    assert done.code == 2, done.output
    assert "A relative path in a Ray job: --train_dir" in done.output
    assert "/run, inside a copy of your folder" in done.output and "Traceback" not in done.output
    again = run_command("launch.submit", "attach", f"--address={cluster['RAY_ADDRESS']}", "--job=bad", env=cluster)
    assert again.code == 2 and "A relative path in a Ray job: --train_dir" in again.output, again.output
    # As with `| head`: the log has no reader any more, and the exit code is the job's all the same.
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "launch.submit", "attach", f"--address={cluster['RAY_ADDRESS']}", "--job=bad"]
    try:
        unread = subprocess.run(command, env=cluster, stdout=writing, stderr=writing, timeout=60, check=False)
    finally:
        os.close(writing)
    assert unread.returncode == 2


def test_a_job_that_is_stopped_counts_as_terminated(cluster: dict[str, str], tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        flags = ("--synthetic=500000", f"--output={tmp_path}/drawn")
        following = pool.submit(_submit, cluster, "prepare_data", *flags, job="long")
        while "RUNNING" not in _ray(cluster, "job", "status", "long").stdout:
            assert not following.done(), following.result().output
        assert _ray(cluster, "job", "stop", "long").returncode == 0
        done = following.result()
    assert done.code == 143 and done.lines[-1] == "job long was stopped", done.output


@pytest.mark.slow
def test_ctrl_c_lets_go_of_a_job_that_goes_on(cluster: dict[str, str], photos: Path, tmp_path: Path) -> None:
    address = f"--address={cluster['RAY_ADDRESS']}"
    flags = (f"--train_data_pattern={photos}/catsvsdogs/train/*", f"--train_dir={tmp_path}/run", "--max_steps=1000000")
    env = {key: value for key, value in cluster.items() if key != MARK}  # it is not of the cluster's processes
    try:
        with running_command("launch.submit", "train", address, "--job=let-go", "--", *flags, env=env) as (process, _):
            assert process.stdout is not None
            assert any(line.startswith("training step ") for line in process.stdout)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
        assert process.returncode == 130 and "Traceback" not in output, output
        _, _, said = output.partition("let go of job let-go, which goes on\n")
        attach, stop = (line.partition(":")[2].split() for line in said.splitlines()[:2])
        assert attach[:2] == ["python", "-m"] and stop[:3] == ["ray", "job", "stop"], output
        assert "RUNNING" in _ray(cluster, "job", "status", "let-go").stdout
        assert _ray(cluster, *stop[1:]).returncode == 0
    finally:
        _ray(cluster, "job", "stop", "--no-wait", "let-go")  # so that it does not train beside the other tests
    attached = run_command(*attach[2:], env=cluster)
    assert attached.code == 143 and "Stopped by SIGTERM" in attached.output, attached.output


@pytest.mark.slow
def test_a_job_is_followed_through_a_tunnel_that_is_cut(cluster: dict[str, str], photos: Path, tmp_path: Path) -> None:
    host, _, port = cluster["RAY_ADDRESS"].removeprefix("http://").partition(":")
    flags = (
        f"--train_data_pattern={photos}/catsvsdogs/train/*",
        f"--train_dir={tmp_path}/run",
        "--model=tests.integration.chaos_models:SlowModel",
        "--batch_size=8",
        "--max_steps=400",
        "--log_every_n_steps=1",
    )
    with tunnel_to(host, int(port)) as tunnel:
        address = f"--address=http://127.0.0.1:{tunnel.port}"
        with running_command("launch.submit", "train", address, "--", *flags, env=cluster) as (process, _):
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("training step 20 "):
                    tunnel.cut()
                    time.sleep(6)  # steps are made meanwhile
                    tunnel.mend()
            code = process.wait(120)
    output = "".join(lines)
    assert code == 0 and output.count("connection lost") == 1, output
    steps = [int(step) for step in re.findall(r"(?m)^training step (\d+) ", output)]
    assert steps == list(range(1, 401)), "each line once"


def _lines_of_the_readme() -> list[str]:
    """Those that submit a job, of the section about this machine as a cluster; one that is continued is one."""
    section = (_ROOT / "README.md").read_text().partition("\n## What runs where\n")[2].partition("\n## ")[0]
    lines = "".join(re.findall(r"```sh\n(.*?)```", section, re.S)).replace("\\\n", " ").splitlines()
    return [line for line in lines if "submit " in line]


@pytest.mark.slow
def test_the_lines_of_the_readme_train_and_evaluate_as_jobs(
    cluster: dict[str, str], photos: Path, tmp_path: Path
) -> None:
    ours, rays = _lines_of_the_readme()
    assert ours.startswith("python -m launch.submit train ") and rays.startswith("ray job submit ")
    assert '"RAY_JOB_STOP_WAIT_TIME_S": "120"' in rays, "launch.submit sets it by itself"
    values = {
        "http://127.0.0.2:8265": cluster["RAY_ADDRESS"],
        "/tmp/drawn": f"{photos}/catsvsdogs",
        "/tmp/job_run": f"{tmp_path}/run",
    }
    for line in (ours, rays):
        for there, here in values.items():
            line = line.replace(there, here)
        command = ["bash", "-c", line]
        done = subprocess.run(command, env=cluster, cwd=_ROOT, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    last = latest_checkpoint(f"{tmp_path}/run")
    evaluated = (tmp_path / "run" / "eval" / "metrics.jsonl").read_text().splitlines()
    assert last is not None and json.loads(evaluated[-1])["global_step"] == last.step


def test_the_job_server_listens_to_its_own_address_alone(cluster: dict[str, str]) -> None:
    port = int(cluster["RAY_ADDRESS"].rpartition(":")[2])
    listening = [one.laddr for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert [address.ip for address in listening if address.port == port] == [_ADDRESS]


NO_FILE = {"RAY_AUTH_TOKEN": "", "HOME": "/nowhere"}


@pytest.mark.parametrize("token", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "wrong" * 8}, NO_FILE])
def test_without_the_token_or_with_a_wrong_one_nothing_is_submitted(
    cluster: dict[str, str], tmp_path: Path, token: dict[str, str]
) -> None:
    flags = ("--synthetic=10", f"--output={tmp_path}/drawn")
    refused = _submit({**cluster, **token}, "prepare_data", *flags, job="intruder")
    assert refused.code == 2 and "its token is missing or wrong" in refused.output, refused.output
    assert cluster["RAY_AUTH_TOKEN"] not in refused.output and "Traceback" not in refused.output
    assert "intruder" not in _ray(cluster, "job", "list").stdout
    assert not (tmp_path / "drawn").exists()


def test_a_folder_that_the_job_server_would_not_take_is_told_before_it_is_sent(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "photos.zip").write_bytes(os.urandom(MOST_BYTES + 1))
    refused = _submit(cluster, "prepare_data", "--synthetic=10", f"--output={tmp_path}/drawn", cwd=tmp_path)
    assert refused.code == 2 and "--working_dir is too large" in refused.output, refused.output
    assert "exceeds the maximum of 100 MiB" in refused.output and ".gitignore" in refused.output


def test_a_run_joins_the_cluster_of_ray_address_and_leaves_it_up(
    cluster: dict[str, str], photos: Path, tmp_path: Path
) -> None:
    # Workers and parameter server leave no room for more on 4 CPUs: that this is refused shows that no Ray was started.
    flags = (f"--train_data_pattern={photos}/catsvsdogs/train/*", f"--train_dir={tmp_path}/run", "--batch_size=64")
    token = {key: value for key, value in cluster.items() if key.startswith("RAY_")} | {"RAY_ADDRESS": cluster["GCS"]}
    too_many = run_command("launch.train", *flags, "--strategy=multi_worker_mirrored", "--num_workers=5", env=token)
    assert too_many.code == 4, too_many.output
    assert "The cluster cannot hold this run" in too_many.output and "1 node(s), with 4 CPUs" in too_many.output
    assert "Traceback" not in too_many.output and not (tmp_path / "run").exists()

    without = {**token, "RAY_AUTH_TOKEN": "wrong" * 8}
    refused = run_command("launch.train", *flags, "--strategy=multi_worker_mirrored", env=without)
    assert refused.code == 2 and "token is missing or wrong" in refused.output, refused.output

    joined = run_command(
        "launch.train", *flags, "--strategy=parameter_server", "--num_parameter_servers=1", "--max_steps=5", env=token
    )
    assert joined.code == 0, joined.output
    assert joined.left_behind() == []
    assert roles_left_behind(cluster[MARK]) == [], "what Ray starts carries the mark of its raylet"


def test_a_command_that_is_killed_leaves_no_role_on_the_cluster(
    cluster: dict[str, str], photos: Path, tmp_path: Path
) -> None:
    token = {key: value for key, value in cluster.items() if key.startswith("RAY_")} | {"RAY_ADDRESS": cluster["GCS"]}
    with running_command(
        "launch.train",
        f"--train_data_pattern={photos}/catsvsdogs/train/*",
        f"--train_dir={tmp_path}/run",
        "--strategy=multi_worker_mirrored",
        "--batch_size=64",
        "--max_steps=1000000",
        env=token,
    ) as (process, _):
        assert process.stdout is not None
        assert any("first step: chief-0" in line for line in process.stdout)
        assert roles_with(cluster[MARK])
        process.kill()
        assert roles_left_behind(cluster[MARK], patience=10.0) == []


# Most often longer than the 3 s that a stopped command has: then the checkpoint comes after its end.
LONG_STEPS = "--model_params=rest_secs=6"


@pytest.mark.parametrize(
    ("strategy", "states"),
    [
        (("--strategy=multi_worker_mirrored",), {"STOPPED"}),
        (("--strategy=parameter_server", "--num_parameter_servers=1", LONG_STEPS), {"STOPPED", "RUNNING"}),
    ],
    ids=["multi_worker_mirrored", "parameter_server"],
)
@pytest.mark.slow
def test_a_job_that_is_stopped_saves_a_checkpoint_though_its_command_is_killed(
    cluster: dict[str, str], photos: Path, tmp_path: Path, strategy: tuple[str, ...], states: set[str]
) -> None:
    train_dir, name = tmp_path / "run", f"stopped-{uuid.uuid4().hex[:8]}"
    flags = (
        f"--train_data_pattern={photos}/catsvsdogs/train/*",
        f"--train_dir={train_dir}",
        "--model=tests.integration.chaos_models:SlowNormalisedModel",
        "--batch_size=8",
        "--save_checkpoints_steps=100000",
        "--num_workers=2",
        *strategy,
    )
    submit = [_RAY, "job", "submit", "--no-wait", f"--submission-id={name}", "--working-dir", "."]
    command = [*submit, "--", "python", "-m", "launch.train", *flags, "--max_steps=100000"]
    done = subprocess.run(command, env=cluster, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    def events() -> list[dict[str, Any]]:
        path = train_dir / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    _until(lambda: any(event["event"] == "first_step" for event in events()), 150)
    time.sleep(3)
    pids = {event["pid"] for event in events() if event["event"] == "process_started"}
    assert pids and pids <= roles_with(cluster[MARK])
    stop = [_RAY, "job", "stop", name]
    done = subprocess.run(stop, env=cluster, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    _until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 60)
    assert roles_left_behind(cluster[MARK]) == []
    assert "`ray job stop` ends this command 3 s after it asked" in _ray(cluster, "job", "logs", name).stdout
    saved = latest_checkpoint(str(train_dir))
    log = (train_dir / "logs" / "chief-0.log").read_text()
    assert saved is not None and saved.step > 0 and "stopped after step" in log, log
    assert json.loads((train_dir / "run_state.json").read_text())["state"] in states

    continued = _submit(cluster, "train", *flags, f"--max_steps={saved.step + 3}")
    assert continued.code == 0, continued.output
    last = latest_checkpoint(str(train_dir))
    # Asynchronous workers pass the last step by less than their number.
    assert last is not None and last.step - saved.step in (3, 4), continued.output
    steps = re.search(r"steps made: chief-0 (\d+).*; worker-0 (\d+)", continued.output)
    assert steps is not None and max(int(steps[1]), int(steps[2])) <= 4, "it goes on where it was stopped"


def test_no_log_and_no_process_list_shows_the_token(cluster: dict[str, str], tmp_path: Path) -> None:
    # The last test here: jobs have run, this one at least.
    assert _submit(cluster, "prepare_data", "--synthetic=10", f"--output={tmp_path}/drawn").code == 0
    token = cluster["RAY_AUTH_TOKEN"].encode()
    logs = [path for path in (_folder(cluster[MARK]) / "session_latest" / "logs").rglob("*") if path.is_file()]
    assert any(path.name.startswith("job-driver-") for path in logs)
    logs += [path for path in tmp_path.parent.rglob("*.log") if path.is_file()]  # of the runs of the tests before
    assert [str(path) for path in logs if token in path.read_bytes()] == []
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert any("raylet" in " ".join(line) for line in lines)
    assert [line for line in lines if token.decode() in " ".join(line)] == []


def _until(reached: Callable[[], bool], patience: float) -> None:
    end = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.2)
