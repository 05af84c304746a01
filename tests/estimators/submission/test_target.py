"""A place that cannot be written to is told before anything begins."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

import pytest

from estimators.errors import InfrastructureError, UserError
from estimators.submission.target import check_target, write_errors_told

NOBODY = 65534


@contextlib.contextmanager
def _not_as_root() -> Iterator[None]:
    """Root may write everywhere."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, UserError), (errno.EACCES, UserError), (errno.EIO, InfrastructureError)],
)
def test_a_full_disk_is_the_users_to_mend_and_one_that_fails_is_not(number, kind):
    with pytest.raises(kind, match="cannot be written") as caught, write_errors_told("/o.csv", flag="output_file"):
        raise OSError(number, os.strerror(number), "/o.csv")
    assert os.strerror(number) in caught.value.found and type(caught.value) is kind


def test_a_device_and_a_pipe_are_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/null"):
        with pytest.raises(UserError, match="cannot be written") as caught:
            check_target(path, flag="output_file", inputs=[])
        assert "a device or a pipe" in caught.value.found


@pytest.mark.parametrize("path", ["gs://bucket", "gs://bucket/"])
def test_a_whole_bucket_is_no_folder_for_results(path):
    with pytest.raises(UserError, match="cannot be written") as caught:
        check_target(path, flag="output_path", inputs=[], folder=True)
    assert caught.value.found == "it is a whole bucket"


@pytest.mark.parametrize("folder", [False, True])
def test_a_folder_without_permission_is_named(tmp_path, folder):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    for above in [tmp_path, *tmp_path.parents[:2]]:  # pytest's own folders are for one user alone
        above.chmod(above.stat().st_mode | 0o055)
    with _not_as_root(), pytest.raises(UserError, match="cannot be written") as caught:
        check_target(str(closed / "out.csv"), flag="output_file", inputs=[], folder=folder)
    assert caught.value.found == f"no permission to write in {closed}" and "--output_file" in caught.value.change
    assert list(closed.iterdir()) == []
