from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from estimators.errors import InfeasibleError, UserError
from estimators.experiment_options import ExperimentOptions
from estimators.options import Options, option
from launch.flags import parse_flags, run_command

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(
    f"launch.{path.stem}" for path in (ROOT / "launch").glob("*.py") if path.stem not in ("__init__", "flags")
)


@dataclass(frozen=True, kw_only=True)
class First(Options):
    folder: str = option(group="data", help="where to")
    size: int = option(3, group="data", help="how large, 50% more or less", at_least=1)
    rate: float = option(0.5, group="learning", help="how fast", above=0)
    kind: str = option("a", group="learning", help="which", choices=("a", "b"))
    limit: int | None = option(None, group="learning", help="how far")
    loud: bool = option(False, group="learning", help="whether")


@dataclass(frozen=True, kw_only=True)
class Second(Options):
    folder: str = option(group="data", help="where to")
    colour: str = option("red", group="looks", help="which")


def parse(*argv: str) -> First:
    (made,) = parse_flags("launch.sample", "What it does.", First, argv=argv)
    assert isinstance(made, First)
    return made


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as caught:
        parse(*argv)
    assert caught.value.code == 2
    out = capsys.readouterr()
    assert out.out == "" and out.err.startswith("error: ") and "python -m launch.sample --help" in out.err
    return out.err


def test_without_flags_the_defaults_hold() -> None:
    assert parse("--folder=x") == First(folder="x")


def test_flags_get_their_types_with_or_without_an_equals_sign() -> None:
    expected = First(folder="/a b", size=7, rate=1e-3, kind="b", limit=9, loud=True)
    assert parse("--folder=/a b", "--size=7", "--rate=1e-3", "--kind=b", "--limit=9", "--loud") == expected
    assert (
        parse("--folder", "/a b", "--size", "7", "--rate", "1e-3", "--kind", "b", "--limit", "9", "--loud") == expected
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--loud"], True),
        (["--loud=true"], True),
        (["--loud=True"], True),
        (["--loud=1"], True),
        (["--loud=false"], False),
        (["--loud=0"], False),
        (["--noloud"], False),
        (["--loud", "--noloud"], False),
        (["--noloud", "--loud"], True),
        ([], False),
    ],
)
def test_a_flag_that_is_true_or_false_works_as_in_2017(flags: list[str], expected: bool) -> None:
    assert parse("--folder=x", *flags).loud is expected
    assert parse(*flags, "--folder=x").loud is expected


def test_a_flag_that_two_classes_share_fills_both() -> None:
    first, second = parse_flags("launch.sample", None, First, Second, argv=["--folder=x", "--colour=blue", "--size=4"])
    assert first == First(folder="x", size=4) and second == Second(folder="x", colour="blue")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "--folder"),
        (["--folder=x", "--sise=4"], "--sise=4"),
        (["--folder=x", "--siz=4"], "--siz=4"),  # no guessing
        (["--folder=x", "--size=many"], "invalid int value: 'many'"),
        (["--folder=x", "--size=1e3"], "invalid int value: '1e3'"),
        (["--folder=x", "--rate=fast"], "'fast'"),
        (["--folder=x", "--loud=maybe"], "'maybe' is neither true nor false"),
        (["--folder=x", "stray"], "stray"),
        (["--folder"], "--folder"),
    ],
)
def test_flags_that_do_not_parse_end_the_command_with_one_message(
    capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    assert told in refused(capsys, *flags)


@pytest.mark.parametrize(
    ("flag", "hint"),
    [
        ("--sise=4", "did you mean --size?"),
        ("--xyz=4", "see `python"),
        ("train-00001-of-4", "put a pattern in quotes"),
    ],
)
def test_a_flag_that_is_not_there_is_told_with_the_one_that_may_be_meant(
    capsys: pytest.CaptureFixture[str], flag: str, hint: str
) -> None:
    told = refused(capsys, "--folder=x", flag)
    assert f"change: {hint}" in told, told


@pytest.mark.parametrize("flags", [["--size=0"], ["--rate=0"], ["--rate=nan"], ["--kind=c"], ["--folder="]])
def test_a_value_that_is_not_allowed_is_told_as_the_options_tell_it(flags: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        parse("--folder=x", *flags)
    assert flags[0].split("=")[0] in caught.value.summary


def test_options_are_told_which_flags_were_given() -> None:
    flags = ["--train_dir=x", "--train_data_pattern=y", "--learning_rate_schedule=cosine"]
    (made,) = parse_flags("launch.train", None, ExperimentOptions, argv=[*flags, "--label_loss=CrossEntropyLoss"])
    assert made.label_loss_given
    with pytest.raises(UserError, match="--learning_rate_decay does nothing"):
        parse_flags("launch.train", None, ExperimentOptions, argv=[*flags, "--learning_rate_decay=0.95"])


def test_help_says_how_epochs_and_steps_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_flags("launch.train", None, ExperimentOptions, argv=["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(5 if max_steps is not given either); with max_steps too, whichever comes first" in text
    assert "however many passes it takes; with num_epochs too, whichever comes first" in text
    assert "label_loss_given" not in text


def test_help_shows_what_the_command_does_and_each_flag_with_its_default_in_its_group(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_flags(
            "launch.sample", "What it does.\n\n    python -m launch.sample --folder=x", First, Second, argv=["--help"]
        )
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "What it does. python -m launch.sample --folder=x" in text
    assert "where to (required)" in text and "how large, 50% more or less (default: 3)" in text
    assert "{a,b}" in text and "how far (default: none)" in text and "looks: --colour" in text
    assert text.count("--folder TEXT") == 1 and "--noloud" not in text


@pytest.fixture(autouse=True)
def _sigterm() -> Iterator[None]:
    """`run_command` sets a handler, which must not stay with the tests."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def end_of(main: object) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        run_command(main)  # type: ignore[arg-type]
    return caught.value.code


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (5, 5)])
def test_a_command_ends_with_its_exit_code(result: int | None, code: int) -> None:
    assert end_of(lambda: result) == code


def raiser(error: BaseException) -> object:
    def main() -> None:
        raise error

    return main


def test_an_error_for_people_is_printed_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert end_of(raiser(InfeasibleError("No room", asked="a", found="f", change="c"))) == 4
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", "error: No room\n  asked:  a\n  found:  f\n  change: c\n")


def test_an_interruption_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert end_of(raiser(KeyboardInterrupt())) == 130 and capsys.readouterr().err == "interrupted\n"


def test_a_command_that_is_told_to_end_cleans_up() -> None:
    code = (
        "import time; from launch.flags import run_command\n"
        "def main():\n"
        "    try:\n"
        "        print('begun', flush=True); time.sleep(60)\n"
        "    finally:\n"
        "        print('cleaned up', flush=True)\n"
        "run_command(main)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        process.terminate()
        assert process.communicate(timeout=30)[0] == "cleaned up\n" and process.returncode == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()


def test_an_error_that_nobody_expected_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(raiser(ZeroDivisionError()))  # type: ignore[arg-type]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_waits_for_neither_tensorflow_nor_ray(command: str) -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert end.code in (0, None), end.code\n"
        "assert not {'tensorflow', 'ray', 'pandas'} & set(sys.modules), 'slow imports'"
    )
    argv = [sys.executable, "-W", "error::RuntimeWarning", "-c", code, command]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"python -m {command}" in done.stdout and done.stderr == ""
