"""Bends TensorFlow 2.15 to what a supervised run needs; for Keras and tf_slim their own modules do."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import re
import warnings
from collections.abc import Iterator

_READINESS_POLL_SECS = 1


def quiet_tensorflow() -> None:
    """Keeps TensorFlow's own chatter off stderr; call it before the import.

    Level 3, since 2.15 logs at error level, at each start, that cuDNN, cuFFT and cuBLAS "factories" are registered
    twice. Errors that matter arrive as Python exceptions. A TF_CPP_MIN_LOG_LEVEL that is set already is kept.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", message=r"`(tf\.layers|layer)\.|To make it possible to preserve tf.data options")
    # Where Google's client is installed (on the head of a cluster there, for Ray) TensorFlow imports it.
    warnings.filterwarnings("ignore", message="You are using a Python version", category=FutureWarning)
    logging.getLogger("tensorflow").setLevel(logging.CRITICAL)


def shorten_readiness_poll() -> None:
    """A worker looks every second, not every 30, whether the chief has initialised the variables.

    `recovery_wait_secs` is an argument of SessionManager that RunConfig does not reach; so its default is changed.
    """
    from tensorflow.python.training import session_manager

    init = session_manager.SessionManager.__init__
    names = list(inspect.signature(init).parameters)
    first_default = len(names) - len(init.__defaults__)
    defaults = list(init.__defaults__)
    defaults[names.index("recovery_wait_secs") - first_default] = _READINESS_POLL_SECS
    init.__defaults__ = tuple(defaults)


def reason_of(message: str) -> str:
    """The one line of a TensorFlow error's message that says why, without the graph's nodes and places around it."""
    before_node = message.split("\n\t [[")[0].strip()
    # In graph mode places come first and the reason last; run eagerly, the reason stands between two brackets.
    last = before_node if before_node.startswith("{{") else before_node.splitlines()[-1] if before_node else ""
    return re.sub(r"^\{\{.*?\}\} |\s*\[Op:.*", "", last, flags=re.DOTALL).strip()


@contextlib.contextmanager
def without_tf_config() -> Iterator[None]:
    """Hides TF_CONFIG, so that a RunConfig made inside belongs to no cluster."""
    saved = os.environ.pop("TF_CONFIG", None)
    try:
        yield
    finally:
        if saved is not None:
            os.environ["TF_CONFIG"] = saved
