"""Fixtures that all tests share."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.buckets.emulator import Emulator

# Its assertions are told like those of a test.
pytest.register_assert_rewrite("tests.integration.chaos_table")


def pytest_configure() -> None:
    """Where Ctrl-C is ignored, as in the background of a script, the tests and what they start would ignore it too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photos: $CVD_TEST_DATA, or shared/data beside the project's folder."""
    folder = os.environ.get("CVD_TEST_DATA") or str(Path(__file__).parents[2] / "shared" / "data")
    if not (Path(folder) / "catsvsdogs").is_dir():
        missing = f"real photos are wanted, in {folder}/catsvsdogs/: set CVD_TEST_DATA to the folder that holds them"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)  # a skip there would pass for a test that ran
        pytest.skip(missing)
    return Path(folder)


@pytest.fixture(scope="session")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator of Cloud Storage, for all tests; commands reach it by its `environment`."""
    with Emulator(tmp_path_factory.mktemp("emulator")) as emulator:
        yield emulator


@pytest.fixture
def emulator(buckets: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The same, as it is at its start, and reached by this process too."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", buckets.url)
    buckets.forget()
    return buckets


@pytest.fixture
def bucket(emulator: Emulator) -> str:
    """`gs://<a new bucket>`, empty."""
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    emulator.make_bucket(name)
    return f"gs://{name}"
