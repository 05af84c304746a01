from __future__ import annotations

from typing import Any

import pytest

from cvd_cluster import job_following
from cvd_cluster.job_following import follow_job
from estimators.errors import InfrastructureError
from tests.cvd_cluster.fake_job_client import HANGS, JOB, Cut, FakeJobClient


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(job_following, "_SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(job_following, "_LAST_LINES_SECONDS", 0.04)


class Followed:
    """A job followed to its end on a clock that moves by a minute a try."""

    def __init__(self, client: FakeJobClient, patience_seconds: float = 600.0) -> None:
        self.log: list[str] = []
        self.told: list[str] = []
        self.now = 0.0

        def sleep(seconds: float) -> None:
            assert seconds > 0
            self.now += 60.0

        options: dict[str, Any] = {"clock": lambda: self.now, "sleep": sleep, "patience_seconds": patience_seconds}
        self.code = follow_job(client, JOB, write=self.log.append, tell=self.told.append, **options)

    @property
    def text(self) -> str:
        return "".join(self.log)


def test_the_log_of_a_job_that_succeeds_is_shown_and_the_code_is_0():
    followed = Followed(FakeJobClient([["step 1\n", "step 2\n"]]))
    assert (followed.code, followed.text, followed.told) == (0, "step 1\nstep 2\n", [])


@pytest.mark.parametrize(("status", "exit_code", "code"), [
    ("FAILED", 2, 2), ("FAILED", 1, 1), ("FAILED", -9, 137), ("STOPPED", None, 143), ("STOPPED", 0, 143),
])  # fmt: skip
def test_a_job_that_did_not_succeed_never_ends_with_0(status, exit_code, code):
    assert Followed(FakeJobClient(states=[status], exit_code=exit_code)).code == code


@pytest.mark.parametrize("exit_code", [None, 0])
def test_a_job_that_failed_outside_its_command_is_an_error_with_rays_message(exit_code):
    with pytest.raises(InfrastructureError, match="job supervisor actor died") as caught:
        Followed(FakeJobClient(states=["FAILED"], exit_code=exit_code, message="job supervisor actor died"))
    assert caught.value.exit_code == 3


def test_lines_are_shown_once_though_each_connection_begins_at_the_first():
    client = FakeJobClient(
        [["step 1\n", Cut("reset")], ["step 1\nst", "ep 2\n", Cut("reset")], ["step 1\nstep 2\nend\n"]]
    )
    followed = Followed(client)
    assert followed.text == "step 1\nstep 2\nend\n"
    assert followed.told == ["connection lost (reset); the job goes on, trying again"] * 2
    assert client.connected == 3 and followed.code == 0


def test_a_log_that_ends_while_the_job_goes_on_is_taken_up_again():
    followed = Followed(FakeJobClient([["a\n"], ["a\nb\n"]], states=["RUNNING", "SUCCEEDED"]))
    assert followed.text == "a\nb\n"


def test_a_link_that_is_cut_without_a_word_is_noticed():
    # Nothing comes, and asking how the job is fails too: not a job with nothing to say.
    client = FakeJobClient([["a\n", HANGS], ["a\nb\n"]], states=["RUNNING", Cut("timed out"), "SUCCEEDED"])
    followed = Followed(client)
    assert followed.text == "a\nb\n" and followed.told == ["connection lost (timed out); the job goes on, trying again"]


def test_a_job_that_is_over_is_not_awaited_because_its_log_stays_open():
    assert Followed(FakeJobClient([["a\n", HANGS]], states=["RUNNING", "RUNNING", "SUCCEEDED"])).code == 0


def test_a_connection_that_stays_lost_is_given_up_and_said_once():
    client = FakeJobClient([[Cut("no route")]])
    with pytest.raises(InfrastructureError, match="stays lost") as caught:
        Followed(client, patience_seconds=300)
    assert caught.value.exit_code == 3 and "submit attach" in str(caught.value) and client.connected == 7


def test_patience_begins_anew_with_each_loss():
    often: list[list[str | Exception]] = [[*["line\n"] * n, Cut("reset")] for n in range(1, 20)]
    often.append(["line\n"] * 20)
    followed = Followed(FakeJobClient(often), patience_seconds=90)
    assert followed.code == 0 and followed.text == "line\n" * 20


def test_a_job_that_the_cluster_does_not_know_is_not_waited_for():
    gone = RuntimeError(f"Request failed with status code 404: Job {JOB} does not exist.")
    client = FakeJobClient([[Cut("reset")], []], states=[gone])
    with pytest.raises(InfrastructureError, match="knows no such job"):
        Followed(client)
    assert client.connected == 2


def test_a_job_that_waits_for_a_machine_is_told_once():
    followed = Followed(FakeJobClient([[HANGS]], states=["PENDING", "PENDING", "SUCCEEDED"]))
    assert followed.code == 0 and len(followed.told) == 1 and "waits for a machine" in followed.told[0]
