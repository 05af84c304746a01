from __future__ import annotations

import inspect
import os

import pytest

from estimators.tensorflow_compat import reason_of, shorten_readiness_poll, without_tf_config

IN_A_GRAPH = """Graph execution error:

Detected at node Assert defined at (most recent call last):
  File "a.py", line 10, in <module>

assertion failed: [the label of] [x.jpg] [is] [7]
\t [[{{node Assert}}]] [Op:__inference_dec_116]"""
EAGERLY = """{{function_node __wrapped__DecodeImage_device_}} Unknown image file format. One of JPEG, PNG, \
GIF, BMP required. [Op:DecodeImage] name:
Improper call to JPEG library in state 201"""


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (IN_A_GRAPH, "assertion failed: [the label of] [x.jpg] [is] [7]"),
        (EAGERLY, "Unknown image file format. One of JPEG, PNG, GIF, BMP required."),
        ("corrupted record at 12", "corrupted record at 12"),
        ("", ""),
    ],
)
def test_the_reason_is_told_without_the_places_in_tensorflows_graph(message: str, reason: str) -> None:
    assert reason_of(message) == reason


def test_tf_config_is_hidden_inside_and_back_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", "{}")
    with without_tf_config():
        assert "TF_CONFIG" not in os.environ
    assert os.environ["TF_CONFIG"] == "{}"
    monkeypatch.delenv("TF_CONFIG")
    with without_tf_config():
        pass
    assert "TF_CONFIG" not in os.environ


def test_a_worker_looks_every_second_whether_its_chief_is_ready() -> None:
    from tensorflow.python.training import session_manager

    before = inspect.signature(session_manager.SessionManager.__init__).parameters
    for _ in range(2):
        shorten_readiness_poll()
    after = inspect.signature(session_manager.SessionManager.__init__).parameters
    assert after["recovery_wait_secs"].default == 1
    assert {name: p.default for name, p in after.items() if name != "recovery_wait_secs"} == {
        name: p.default for name, p in before.items() if name != "recovery_wait_secs"
    }
