"""Stand-ins are gone when the block is left."""

from __future__ import annotations

import pytest

from cvd_cluster.replaced_attributes import replaced_attributes


class _Library:
    @staticmethod
    def speak() -> str:
        return "original"


def test_an_attribute_is_replaced_and_put_back_also_after_an_error():
    def fail() -> None:
        with replaced_attributes([(_Library, "speak", lambda: "stand-in")]):
            raise LookupError(_Library.speak())

    with pytest.raises(LookupError, match="stand-in"):
        fail()
    assert _Library.speak() == _Library().speak() == "original"


def test_a_name_that_is_not_there_is_left_alone():
    with replaced_attributes([(_Library, "sing", lambda: "stand-in")]):
        assert not hasattr(_Library, "sing")
    assert not hasattr(_Library, "sing")
