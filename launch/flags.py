"""Flags out of options dataclasses, and one way for all commands to end.

Boolean flags work as they did in 2017: `--start_new_model`, `--start_new_model=true`, `--nostart_new_model`.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from estimators.errors import HarnessError
from estimators.options import Options, field_type


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors look like all other errors of the harness."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n  change: see `python -m {self.prog} --help`\n")


def _to_bool(text: str) -> bool:
    values = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return values[text.lower()]


def _add_flag(parser: argparse._ArgumentGroup, cls: type, field: dataclasses.Field[Any]) -> None:
    required = field.default is dataclasses.MISSING
    kind = field_type(cls, field)
    shown = "required" if required else "default: none" if field.default is None else f"default: {field.default}"
    text = f"{field.metadata['help']} ({shown})".replace("%", "%%")
    if kind is bool:
        parser.add_argument(
            f"--{field.name}",
            nargs="?",
            const=True,
            default=argparse.SUPPRESS,
            type=_to_bool,
            metavar="BOOL",
            help=text,
        )
        parser.add_argument(
            f"--no{field.name}",
            dest=field.name,
            action="store_false",
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )
        return
    choices = field.metadata["choices"]
    metavar = "{" + ",".join(choices) + "}" if choices else {int: "N", float: "X"}.get(kind, "TEXT")
    parser.add_argument(
        f"--{field.name}", type=kind, required=required, default=argparse.SUPPRESS, metavar=metavar, help=text
    )


def parse_flags(command: str, doc: str | None, *classes: type[Options], argv: Sequence[str] | None = None) -> list[Any]:
    """Options objects out of the command line, one for each class in `classes`.

    A field that several classes share is one flag, which fills all of them.

    Args:
      command: the module's name, e.g. "launch.train".
      doc: the module's docstring, shown on top of `--help`.
      classes: the options dataclasses.
      argv: the arguments; None takes those of this process.

    Raises:
      UserError: a value is out of its range.
      SystemExit: the flags do not parse (2), or `--help` was asked for (0).
    """
    parser = _Parser(
        prog=command,
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage=f"python -m {command} --flag=value …",
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    seen: set[str] = set()
    for cls in classes:
        for field in dataclasses.fields(cls):
            if field.name in seen or "group" not in field.metadata:
                continue
            seen.add(field.name)
            name = field.metadata["group"]
            if name not in groups:
                groups[name] = parser.add_argument_group(name)
            _add_flag(groups[name], cls, field)
    given = vars(parser.parse_args(argv))
    return [
        cls(**{field.name: given[field.name] for field in dataclasses.fields(cls) if field.name in given})
        for cls in classes
    ]


def run_command(main: Callable[[], int | None]) -> NoReturn:
    """Runs a command and ends the process with its exit code; an error for people is printed without a traceback."""
    # Python's own answer to SIGTERM ends nothing that was started; as an exception it passes every `finally`.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        code = main() or 0
    except HarnessError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr, flush=True)
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        code = 130
    sys.exit(code)
