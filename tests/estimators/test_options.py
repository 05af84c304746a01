from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import pytest

from estimators.errors import UserError
from estimators.options import Options, field_type, option


@dataclass(frozen=True, kw_only=True)
class Sample(Options):
    folder: str = option(group="g", help="where to")
    size: int = option(3, group="g", help="how large", at_least=1)
    rate: float = option(0.5, group="g", help="how fast", above=0)
    kind: str = option("a", group="g", help="which", choices=("a", "b"))
    limit: int | None = option(None, group="g", help="how far", at_least=10)
    loud: bool = option(False, group="g", help="whether")


def refused(**values: object) -> str:
    with pytest.raises(UserError) as caught:
        Sample(**{"folder": "x", **values})  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"size": 0}, ["--size is out of range", "--size=0", "at least 1"]),
        ({"limit": 9}, ["--limit is out of range", "--limit=9", "at least 10"]),
        ({"rate": 0.0}, ["--rate=0.0", "greater than 0"]),
        ({"rate": float("nan")}, ["--rate", "nan", "finite"]),
        ({"kind": "c"}, ["--kind=c", "one of a, b"]),
        ({"folder": ""}, ["--folder is empty", 'asked:  --folder=""', "where to"]),
        ({"folder": "  "}, ["--folder is empty"]),
        ({"size": "3"}, ["--size is of the wrong type", "--size='3'", "int"]),
        ({"size": 3.0}, ["--size is of the wrong type"]),
        ({"size": True}, ["--size is of the wrong type"]),
        ({"rate": True}, ["--rate is of the wrong type"]),
        ({"loud": 1}, ["--loud is of the wrong type", "bool"]),
        ({"folder": 5}, ["--folder is of the wrong type"]),
    ],
)
def test_a_bad_value_is_told_with_its_flag(values: dict[str, object], told: list[str]) -> None:
    message = refused(**values)
    assert all(part in message for part in told), message


def test_the_limits_themselves_are_allowed_and_so_is_a_whole_number_for_a_float() -> None:
    assert Sample(folder="x", size=1, limit=10, rate=1).rate == 1


def test_none_is_allowed_where_it_is_the_default() -> None:
    assert Sample(folder="x").limit is None


def test_options_come_back_out_of_json() -> None:
    options = Sample(folder="/a b/ü", size=7, rate=0.1, kind="b", limit=11, loud=True)
    assert Sample.from_json(json.loads(json.dumps(options.to_json())), source="s") == options


def test_an_unknown_key_is_refused_by_name_and_the_known_ones_are_listed() -> None:
    with pytest.raises(UserError) as caught:
        Sample.from_json({"folder": "x", "sise": 3}, source="/run/experiment.json")
    assert all(part in str(caught.value) for part in ("/run/experiment.json", "found:  sise", "folder, kind, limit"))


def test_a_missing_key_without_a_default_is_told_by_name() -> None:
    with pytest.raises(UserError) as caught:
        Sample.from_json({"size": 3}, source="/run/experiment.json")
    assert "/run/experiment.json" in str(caught.value) and "no folder" in str(caught.value)


def test_a_key_with_a_default_may_be_missing() -> None:
    assert Sample.from_json({"folder": "x"}, source="s") == Sample(folder="x")


def test_options_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Sample(folder="x").size = 4  # type: ignore[misc]


def test_the_type_of_a_field_is_without_its_none() -> None:
    types = {field.name: field_type(Sample, field) for field in dataclasses.fields(Sample)}
    assert types == {"folder": str, "size": int, "rate": float, "kind": str, "limit": int, "loud": bool}
