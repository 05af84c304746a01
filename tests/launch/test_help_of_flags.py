"""Every flag of every command has a group and a help, and a number says what it counts."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

import cvd_cluster
import estimators
from estimators.options import Options

UNITS = re.compile(
    r"\b(examples|photos|pictures|pixels|labels|class(es)?|steps?|seconds|times|passes|files|pieces|pairs|checkpoints"
    r"|processes|predictors|servers|replicas|workers|CPUs|GPUs|port|share|rate|norm|factor|weight|seed)\b"
)


def subclasses(of: type[Any]) -> Iterator[type[Any]]:
    for one in of.__subclasses__():
        yield one
        yield from subclasses(one)


def fields() -> list[Any]:
    for package in (estimators, cvd_cluster):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith(("_options", "evaluation_run")):
                importlib.import_module(module.name)
    own = [one for one in subclasses(Options) if one.__module__.startswith(("estimators.", "cvd_cluster."))]
    assert len(own) > 10
    return [
        pytest.param(field, id=f"{one.__name__}.{field.name}")
        for one in dict.fromkeys(own)
        for field in dataclasses.fields(one)
        if "help" in field.metadata
    ]


@pytest.mark.parametrize("field", fields())
def test_a_flag_tells_what_it_is_and_a_number_its_unit(field: Any) -> None:
    text = field.metadata["help"]
    assert (text and field.metadata["group"] and text[0] == text[0].lower()) or text[:2].isupper(), text
    if re.search(r"\b(int|float)\b", str(field.type)):
        assert UNITS.search(text), text
