from __future__ import annotations

import itertools
import os

import pytest

from estimators.conversion.ordered_processes import map_in_order


def _with_process(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def _fails_at_40(number: int) -> int:
    if number == 40:
        raise ValueError("item 40")
    return number


@pytest.mark.parametrize("num_processes", [1, 2])
def test_results_come_in_the_order_of_the_items(num_processes):
    results = list(map_in_order(_with_process, range(150), num_processes))
    assert [square for square, _ in results] == [number * number for number in range(150)]
    assert ({process for _, process in results} == {os.getpid()}) == (num_processes == 1)


def test_an_endless_supply_is_not_read_ahead_of_need():
    endless = itertools.count()
    results = map_in_order(_with_process, endless, 2)
    assert next(results)[0] == 0
    results.close()
    assert next(endless) < 1000


def test_an_error_in_another_process_is_raised_here():
    with pytest.raises(ValueError, match="item 40"):
        list(map_in_order(_fails_at_40, range(60), 2))
