"""Flags out of options dataclasses, and one way for all commands to end.

Boolean flags work as they did in 2017: `--start_new_model`, `--start_new_model=true`, `--nostart_new_model`.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import io
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from estimators.errors import HarnessError, StoppedError, UserError
from estimators.options import Options, field_type


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors look like all other errors of the harness."""

    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2]
        hint = self._hint(unknown.split()[0]) if unknown else ""
        self.exit(2, f"error: {message}\n  change: {hint}see `python -m {self.prog} --help`\n")

    def _hint(self, unknown: str) -> str:
        if not unknown.startswith("-"):
            return "put a pattern in quotes, so that the shell does not expand it; "
        known = [flag for action in self._actions for flag in action.option_strings]
        close = difflib.get_close_matches(unknown.partition("=")[0], known, n=1)
        return f"did you mean {close[0]}? Else " if close else ""


def _to_bool(text: str) -> bool:
    values = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return values[text.lower()]


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING


def _add_flag(
    parser: argparse._ArgumentGroup, cls: type, field: dataclasses.Field[Any], *, when_required: str | None = None
) -> None:
    """Adds a field's flag.

    Args:
      parser: the group to add it to.
      cls: the field's class.
      field: the field.
      when_required: for a required one, what `--help` says about that, while the parser lets it be missing; None has
        the parser insist on it.
    """
    required = _is_required(field)
    kind = field_type(cls, field)
    shown = (
        when_required or "required"
        if required
        else "default: none"
        if field.default is None
        else f"default: {field.default}"
    )
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
        f"--{field.name}",
        # A shell expands no ~ behind an equals sign.
        type=os.path.expanduser if kind is str else kind,
        required=required and when_required is None,
        default=argparse.SUPPRESS,
        metavar=metavar,
        help=text,
    )


def _new_parser(command: str, doc: str | None) -> _Parser:
    return _Parser(
        prog=command,
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage=f"python -m {command} --flag=value …",
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
    parser = _new_parser(command, doc)
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
    return [cls.from_flags({name: given[name] for name in _names(cls) if name in given}) for cls in classes]


def parse_one_of(
    command: str, doc: str | None, alternatives: Mapping[str, type[Options]], *, argv: Sequence[str] | None = None
) -> Any:
    """Options for a command that does one of several things.

    Args:
      command: the module's name, e.g. "launch.prepare_data".
      doc: the module's docstring, shown on top of `--help`.
      alternatives: the flag that asks for a thing -> the options dataclass of that thing, which has it as a field.
      argv: the arguments; None takes those of this process.

    Returns:
      Options of the class whose flag is given.

    Raises:
      UserError: none or several of these flags are given, a flag belongs to another one, is missing, or is out of its
        range.
      SystemExit: the flags do not parse (2), or `--help` was asked for (0).
    """
    parser = _new_parser(command, doc)
    groups = {"": parser.add_argument_group("what to do")}
    seen: set[str] = set()
    fields = [(cls, field) for cls in alternatives.values() for field in dataclasses.fields(cls)]
    for cls, field in sorted(fields, key=lambda pair: pair[1].name not in alternatives):
        if field.name not in seen:
            seen.add(field.name)
            name = "" if field.name in alternatives else field.metadata["group"]
            group = groups.get(name) or groups.setdefault(name, parser.add_argument_group(name))
            owners = [flag for flag, owner in alternatives.items() if field.name in _names(owner)]
            needed = "one of these is required" if not name else f"required with --{' and --'.join(owners)}"
            _add_flag(group, cls, field, when_required=needed)
    given = vars(parser.parse_args(argv))
    return _made_of(given, _only_one(given, alternatives), alternatives)


def _names(cls: type[Options]) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _only_one(given: Mapping[str, Any], alternatives: Mapping[str, type[Options]]) -> str:
    chosen = [name for name in alternatives if name in given]
    if len(chosen) != 1:
        raise UserError(
            f"Exactly one of {', '.join(f'--{name}' for name in alternatives)} must be given",
            asked=" and ".join(f"--{name}={given[name]}" for name in chosen) or "none of them",
            change="give one of them; --help says what each does",
        )
    return chosen[0]


def _made_of(given: Mapping[str, Any], chosen: str, alternatives: Mapping[str, type[Options]]) -> Options:
    cls = alternatives[chosen]
    known = {field.name: field for field in dataclasses.fields(cls)}
    if foreign := [name for name in given if name not in known]:
        raise UserError(
            f"--{foreign[0]} does not go with --{chosen}",
            asked=f"--{chosen}={given[chosen]} --{foreign[0]}={given[foreign[0]]}",
            change=f"leave --{foreign[0]} out; with --{chosen} go {', '.join(f'--{name}' for name in known)}",
        )
    if missing := [name for name, field in known.items() if _is_required(field) and name not in given]:
        raise UserError(
            f"--{missing[0]} is missing",
            asked=f"--{chosen}={given[chosen]}",
            change=f"--{missing[0]}: {known[missing[0]].metadata['help']}",
        )
    return cls.from_flags(given)


def run_command(main: Callable[[], int | None]) -> NoReturn:
    """Runs a command and ends the process with its exit code; an error for people is printed without a traceback."""
    # Lines come as they are written, also through a pipe or into a log.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    # Python's own answer to SIGTERM ends nothing that was started; as an exception it passes every `finally`.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        code = main() or 0
    except StoppedError as error:
        sys.stdout.flush()
        print(error, file=sys.stderr, flush=True)
        code = error.exit_code
    except HarnessError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr, flush=True)
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        code = 130
    sys.exit(code)
