from __future__ import annotations

import copy
import pickle

import pytest

from estimators.errors import DataError, HarnessError, InfeasibleError, InfrastructureError, UserError
from estimators.records.tfrecord_framing import DamagedRecordError

CLASSES = [HarnessError, UserError, DataError, InfeasibleError, InfrastructureError, DamagedRecordError]


def test_a_message_says_what_was_asked_what_was_found_and_what_to_change() -> None:
    error = UserError("No such file", asked="--data=x", found="nothing", change="--data")
    assert str(error) == "No such file\n  asked:  --data=x\n  found:  nothing\n  change: --data"


def test_a_part_that_is_not_known_leaves_no_line() -> None:
    assert str(UserError("No such file", change="--data")) == "No such file\n  change: --data"
    assert str(HarnessError("It is over")) == "It is over"


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("remake", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_survives_pickling_with_its_class_and_parts(cls, remake) -> None:
    error = cls("summary", asked="a", found="f\nof two lines", change="c – ü")
    made = remake(error)
    assert type(made) is cls
    assert (made.summary, made.asked, made.found, made.change) == ("summary", "a", "f\nof two lines", "c – ü")
    assert str(made) == str(error) and made.exit_code == cls.exit_code


def test_the_exit_code_tells_the_users_mistakes_from_the_machines() -> None:
    assert [cls.exit_code for cls in CLASSES] == [1, 2, 2, 4, 3, 2]


def test_an_error_is_caught_by_the_name_of_its_parent() -> None:
    assert issubclass(DamagedRecordError, DataError) and issubclass(DataError, UserError)
    assert issubclass(InfeasibleError, UserError)
    assert not issubclass(InfrastructureError, UserError)
