"""How options are declared: frozen dataclasses whose fields carry what a flag needs (group, help, choices).

The dataclass is the one place for a name, a type, a default and a range; `launch/flags.py` makes the flag from it, and
`experiment.json` stores it.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from estimators.errors import UserError

OptionsT = TypeVar("OptionsT", bound="Options")


def option(
    default: Any = dataclasses.MISSING,
    *,
    group: str,
    help: str,
    choices: Sequence[str] | None = None,
    at_least: float | None = None,
    above: float | None = None,
) -> Any:
    """A dataclass field that is also a flag.

    Args:
      default: the value without the flag; left out, the flag must be given.
      group: the heading under which `--help` lists it.
      help: what it does, with its unit.
      choices: the only values allowed; None allows all.
      at_least: the smallest value allowed; None sets no limit. None as a value is always allowed.
      above: the value must be greater than this; None sets no limit.
    """
    metadata = {"group": group, "help": help, "choices": choices, "at_least": at_least, "above": above}
    return dataclasses.field(default=default, metadata=metadata)


def refuse_idle(given: Mapping[str, Any], idle: Sequence[str], *, beside: str, change: str) -> None:
    """Refuses flags that were given and would do nothing, whatever their values.

    Args:
      given: see `Options.from_flags`.
      idle: the fields that do nothing.
      beside: the flag under which they do nothing.
      change: what to do instead of leaving them out.

    Raises:
      UserError: one of them was given.
    """
    if asked := [name for name in idle if name in given]:
        raise UserError(
            f"--{asked[0]} does nothing beside {beside}",
            asked=" ".join([beside, *(f"--{name}={given[name]}" for name in asked)]),
            change=f"leave {' and '.join(f'--{name}' for name in asked)} out; {change}",
        )


def field_type(cls: type, field: dataclasses.Field[Any]) -> type:
    """The type of a field's values, without its `| None`."""
    hint = typing.get_type_hints(cls)[field.name]
    if isinstance(hint, types.UnionType):
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    result: type = type(typing.get_args(hint)[0]) if typing.get_origin(hint) is typing.Literal else hint
    return result


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of all options: checks each field's range when made, and goes to and from a JSON object."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self._check(field)

    def _check(self, field: dataclasses.Field[Any]) -> None:
        value, rules = getattr(self, field.name), field.metadata
        flag = f"--{field.name}"
        if value == "" or (isinstance(value, str) and not value.strip()):
            raise UserError(
                f"{flag} is empty", asked=f'{flag}=""', change=f"{flag}: {rules.get('help', 'give a value')}"
            )
        if value is None:
            return
        expected = field_type(type(self), field)
        fits = isinstance(value, (int, float) if expected is float else expected)
        if not fits or (expected is not bool and isinstance(value, bool)):
            raise UserError(
                f"{flag} is of the wrong type",
                asked=f"{flag}={value!r}",
                change=f"{flag} takes a value of type {expected.__name__}",
            )
        if rules.get("choices") and value not in rules["choices"]:
            raise UserError(
                f"No such value for {flag}",
                asked=f"{flag}={value}",
                change=f"{flag} is one of {', '.join(rules['choices'])}",
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{flag} is out of range", asked=f"{flag}={value}", change=f"{flag} takes a finite number")
        # Written so that NaN is out of range too.
        if rules.get("at_least") is not None and not value >= rules["at_least"]:
            raise UserError(
                f"{flag} is out of range",
                asked=f"{flag}={value}",
                change=f"{flag} must be at least {rules['at_least']}",
            )
        if rules.get("above") is not None and not value > rules["above"]:
            raise UserError(
                f"{flag} is out of range",
                asked=f"{flag}={value}",
                change=f"{flag} must be greater than {rules['above']}",
            )

    @classmethod
    def from_flags(cls, given: Mapping[str, Any]) -> Self:
        """Options out of a command line, which knows what a value no longer tells: whether it was asked for.

        Args:
          given: field name -> value, of the flags that were given and of no others.

        Raises:
          UserError: a value is out of its range, or a flag that was given would do nothing.
        """
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls: type[OptionsT], values: Mapping[str, Any], *, source: str) -> OptionsT:
        """Options out of a JSON object.

        Args:
          values: field name -> value.
          source: where the object comes from, for the error message.

        Raises:
          UserError: a key is unknown or missing, or a value is out of its range.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise UserError(
                f"Unknown option in {source}",
                found=", ".join(unknown),
                change=f"known are {', '.join(sorted(names))}; a newer version may have written {source}",
            )
        required = [field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
        missing = sorted(set(required) - set(values))
        if missing:
            raise UserError(
                f"Missing option in {source}",
                found=f"no {', '.join(missing)}",
                change=f"add to {source} what is missing, or make it anew",
            )
        return cls(**values)
