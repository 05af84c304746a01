from __future__ import annotations

from collections.abc import Callable

import pytest

from estimators.errors import UserError
from launch import submit

ADDRESS = "--address=http://127.0.0.1:8265"


@pytest.fixture
def calls(monkeypatch) -> list[tuple[object, ...]]:
    made: list[tuple[object, ...]] = []

    def noting(code: int) -> Callable[..., int]:
        def note(*given: object) -> int:
            made.append(given)
            return code

        return note

    monkeypatch.setattr(submit, "submit", noting(7))
    monkeypatch.setattr(submit, "attach", noting(8))
    return made


def test_what_stands_behind_the_dashes_is_the_commands(calls):
    assert submit.main(["train", ADDRESS, "--stop_wait_seconds=30", "--", "--job=mine", "--", "--x"]) == 7
    ((command, flags, options),) = calls
    assert (command, flags) == ("train", ["--job=mine", "--", "--x"])
    assert options.job is None and options.stop_wait_seconds == 30


def test_attach_takes_a_job(calls):
    assert submit.main(["attach", ADDRESS, "--job=raysubmit_1"]) == 8
    assert calls[0][0].job == "raysubmit_1"


@pytest.mark.parametrize(("argv", "told"), [
    (["tarin", ADDRESS, "--", "--x=1"], "COMMAND is one of train, eval"),
    ([ADDRESS, "--", "--x=1"], "COMMAND is one of train, eval"),
    (["train", ADDRESS], "write them behind --"),
    (["train", ADDRESS, "--"], "write them behind --"),
])  # fmt: skip
def test_a_wrong_line_is_told_with_the_right_one(calls, argv, told):
    with pytest.raises(UserError, match=told):
        submit.main(argv)
    assert calls == []


def test_a_flag_of_the_command_in_front_of_the_dashes_is_refused(calls, capsys):
    with pytest.raises(SystemExit):
        submit.main(["train", ADDRESS, "--train_dir=/x", "--", "--x=1"])
    assert "unrecognized arguments: --train_dir=/x" in capsys.readouterr().err and calls == []
