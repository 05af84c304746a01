"""The whole way on two hosts: up, train, evaluate, infer, watch, stop, continue. `make test-cluster` runs it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.hosts.on_prem_cluster import ADDRESS, TOKEN, OnPremCluster
from tests.hosts.runs import evaluated, events, steps, training_flags, until

pytestmark = pytest.mark.hosts
README = Path(__file__).parents[2] / "README.md"
_WRONG = {**TOKEN, "RAY_AUTH_TOKEN": "0" * 64}


def test_both_nodes_hold_the_token_for_their_owner_alone_and_show_it_to_nobody(cluster: OnPremCluster) -> None:
    tokens = set()
    for host in cluster.hosts.hosts.values():
        said = host.run("sh", "-c", "stat -c %a ~/.ray/auth_token; cat ~/.ray/auth_token").stdout.split()
        assert said[0] == "600", said
        tokens.add(said[1])
        shown = host.run("sh", "-c", "cat /proc/[0-9]*/cmdline; grep -rah . /tmp/ray/session_latest/logs/")
        assert "raylet" in shown.stdout and said[1] not in shown.stdout
    assert len(tokens) == 1


def test_the_dashboard_answers_through_the_tunnel_alone(cluster: OnPremCluster) -> None:
    assert cluster.answers("127.0.0.1").returncode == 0
    for host in cluster.hosts.hosts.values():
        refused = cluster.answers(host.address)
        assert "Connection refused" in refused.stdout, refused.stdout


@pytest.mark.parametrize("env", [{"RAY_AUTH_MODE": "disabled"}, _WRONG], ids=["no token", "a wrong token"])
def test_whoever_reaches_a_port_of_the_cluster_needs_its_token(cluster: OnPremCluster, env: dict[str, str]) -> None:
    head, other = cluster.hosts.hosts.values()
    line = cluster.submit_line("train", "--train_dir=/nowhere", job="intruder")
    submitted = cluster.hosts.laptop.run(*line, env={**TOKEN, **env})
    assert submitted.returncode == 2 and "The cluster refuses this command" in submitted.stdout, submitted.stdout
    assert "intruder" not in cluster.ray("job", "list", f"--address={ADDRESS}").stdout
    # Ray's control port listens to the private network: from the laptop, and from the other host.
    join = f"import ray; ray.init(address='{head.address}:6379', log_to_driver=False)"
    for host in (cluster.hosts.laptop, other):
        refused = host.run(str(cluster.programs / "python"), "-c", join, env={**TOKEN, **env})
        assert refused.returncode and "uthentication" in refused.stdout, refused.stdout


@pytest.mark.parametrize("way", ["launch.submit", "ray job submit"])
@pytest.mark.parametrize("strategy", ["multi_worker_mirrored", "parameter_server"])
def test_workers_train_a_model_of_the_users_own_on_different_hosts(
    cluster: OnPremCluster, data: Path, folder: Path, strategy: str, way: str
) -> None:
    job = f"{strategy}_{way.replace(' ', '_')}"
    train_dir, code = folder / job, folder / f"code of {job}"
    code.mkdir()
    section = README.read_text().partition("\n## A model of your own\n")[2]
    (code / "my_models.py").write_text(section.partition("```python\n")[2].partition("```")[0])
    began = time.time()
    max_steps = {"multi_worker_mirrored": 150, "parameter_server": 2000}[strategy]  # some seconds of training
    flags = training_flags(data, train_dir, strategy, max_steps, "--model=my_models:TwoLayerModel")
    by_ray = way == "ray job submit"
    with cluster.submitting("train", *flags, job=job, working_dir=code, by_ray=by_ray) as training:
        until(lambda: events(train_dir, "first_step"), 240, "the first step")
        # As the hosts themselves see it: their processes, which listen where the others look for them.
        for event in events(train_dir, "process_started"):
            (host,) = (host for host in cluster.hosts.hosts.values() if host.address == event["host"])
            assert "cvd_cluster.roles.role_main" in host.run("ps", "-o", "args=", "-p", str(event["pid"])).stdout
            port = event["address"].rpartition(":")[2]
            assert f"pid={event['pid']}," in host.run("ss", "-Hltnp", f"sport = :{port}").stdout, event
        output, _ = training.communicate(timeout=240)
        assert training.returncode == 0, output
    workers = {event["host"] for event in events(train_dir, "process_started") if event["role"] in ("chief", "worker")}
    assert workers == {host.address for host in cluster.hosts.hosts.values()}
    assert (train_dir / "export" / f"step_{steps(train_dir)[-1]}").is_dir()
    first = events(train_dir, "first_step")[0]["time"]
    print(f"\n{strategy}: first step {first - began:.0f} s after `{way}`")


def test_an_evaluation_job_watches_the_train_dir_of_a_training_job_that_is_stopped_and_continued(
    cluster: OnPremCluster, data: Path, folder: Path
) -> None:
    train_dir = folder / "watched"
    endless = training_flags(data, train_dir, "multi_worker_mirrored", 100_000)
    with cluster.submitting("train", *endless, job="endless") as training:
        until(lambda: events(train_dir, "first_step"), 240, "the first step")
        watch = ["--eval_data_pattern=" + f"{data}/validation/*", f"--train_dir={train_dir}"]
        with cluster.submitting("eval", *watch, job="watch") as evaluating:
            until(lambda: evaluated(train_dir), 240, "an evaluated checkpoint")
            stopped = cluster.ray("job", "stop", f"--address={ADDRESS}", "endless")
            assert stopped.returncode == 0, stopped.stdout
            output, _ = training.communicate(timeout=180)
            assert training.returncode == 143 and "job endless was stopped" in output, output
            # Its run is over, and so is the evaluation, once it has seen the last checkpoint.
            seen, _ = evaluating.communicate(timeout=180)
            assert evaluating.returncode == 0, seen
    step = steps(train_dir)[-1]
    assert evaluated(train_dir)[-1] == step
    done = cluster.submit(
        "train", *training_flags(data, train_dir, "multi_worker_mirrored", step + 10), job="continued"
    )
    assert done.returncode == 0 and steps(train_dir)[-1] == step + 10, done.stdout
    first = int(events(train_dir, "first_step")[-1]["cause"].split()[1])
    assert step <= first <= step + 10, "it went on where it was stopped"


def test_inference_is_shared_by_both_hosts_and_gives_every_photo_its_line(
    cluster: OnPremCluster, data: Path, folder: Path, trained: Path
) -> None:
    output = folder / "submission.csv"
    # Five on hosts with 4 CPUs each, and a file for each of them.
    flags = [f"--train_dir={trained}", f"--input_data_pattern={data}/test/*", f"--output_file={output}"]
    done = cluster.submit("inference", *flags, "--max_worker_count=5", job="infer")
    assert done.returncode == 0, done.stdout
    assert len(output.read_text().splitlines()) == 1 + 40
    head = next(iter(cluster.hosts.hosts.values()))
    # What Ray noted of each call: the node on which it ended well.
    listed = cluster.ray("list", "tasks", "--detail", "--format=json", "--limit=10000", on=head)
    calls = [task for task in json.loads(listed.stdout[listed.stdout.index("[") :]) if task["state"] == "FINISHED"]
    predicted = [task["node_id"] for task in calls if task["func_or_class_name"] == "Predictor.predict"]
    assert len(predicted) >= 5 and len(set(predicted)) == 2, listed.stdout[:3000]


def test_tensorboard_at_the_laptop_shows_the_curves_of_training_and_evaluation(
    cluster: OnPremCluster, folder: Path, trained: Path
) -> None:
    python, url = str(cluster.programs / "python"), "http://127.0.0.1:6006/data/plugin/scalars/tags"
    get = f"import urllib.request; print(urllib.request.urlopen({url!r}, timeout=30).read().decode())"
    board = ("-m", "tensorboard.main", f"--logdir={folder}", "--host=127.0.0.1", "--port=6006")
    with cluster.hosts.laptop.running(python, *board):
        shown: dict[str, dict[str, object]] = {}

        def all_are_there() -> bool:
            answer = cluster.hosts.laptop.run(python, "-c", get)
            shown.update(json.loads(answer.stdout) if answer.returncode == 0 else {})
            return {trained.name, f"{trained.name}/eval"} <= set(shown)

        until(all_are_there, 120, f"TensorBoard shows the run: {shown}")
        assert "loss" in shown[trained.name] and "loss" in shown[f"{trained.name}/eval"], shown
        outside = cluster.hosts.hosts["h2"].run(python, "-c", get.replace("127.0.0.1", "10.77.0.1"))
        assert "Connection refused" in outside.stdout, outside.stdout
