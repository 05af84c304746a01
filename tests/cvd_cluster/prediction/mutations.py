"""Files of records, damaged in ways that disks, networks and people know, for hypothesis to draw from."""

from __future__ import annotations

import random

from hypothesis import strategies as st

Change = tuple[str, int, int]


def changes_of(size: int) -> st.SearchStrategy[list[Change]]:
    """Some changes of a file of so many bytes: what, where, how much."""
    places = st.integers(0, size)
    change = st.one_of(
        st.tuples(st.just("flip"), places, st.integers(1, 255)),
        st.tuples(st.just("cut out"), places, st.integers(1, 400)),
        st.tuples(st.just("put in"), places, st.integers(1, 400)),
        st.tuples(st.just("double"), places, st.integers(1, 400)),
        st.tuples(st.just("end"), places, st.just(0)),
    )
    return st.lists(change, min_size=1, max_size=4)


def mutated(whole: bytes, changes: list[Change]) -> bytes:
    """The file after these changes."""
    data = bytearray(whole)
    for kind, place, amount in changes:
        place = min(place, len(data))
        if kind == "flip":
            data[place : place + 1] = bytes(one ^ amount for one in data[place : place + 1])
        elif kind == "cut out":
            del data[place : place + amount]
        elif kind == "put in":
            data[place:place] = random.Random(amount).randbytes(amount)
        elif kind == "double":
            data[place:place] = data[place : place + amount]
        else:
            del data[place:]
    return bytes(data)
