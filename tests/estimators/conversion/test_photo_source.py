from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest

from estimators.conversion import photo_source
from estimators.conversion.photo_source import UnreadableError, open_source
from estimators.errors import DataError, UserError
from tests.estimators.conversion.made_photos import write_photos, zipped

NAMES = ["cats/a.jpg", "cats/deep/b.jpg", "dogs/c.jpg"]


def refused_zip(path: Path) -> DataError:
    with pytest.raises(DataError) as refused, open_source(str(path)):
        pass
    return refused.value


def zip_with(path: Path, member: zipfile.ZipInfo | str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fine.jpg", b"x")
        archive.writestr(member, b"x")
    return path


def test_a_folder_and_a_zip_of_it_hold_the_same_names_and_bytes(tmp_path):
    folder = write_photos(tmp_path / "photos", NAMES)
    with open_source(str(folder)) as plain, open_source(str(zipped(folder, tmp_path / "photos.zip"))) as packed:
        assert plain.names() == ["cats/", "cats/a.jpg", "cats/deep/", "cats/deep/b.jpg", "dogs/", "dogs/c.jpg"]
        assert packed.names() == NAMES
        for name in NAMES:
            assert plain.read(name) == packed.read(name) == (folder / name).read_bytes()


def test_a_folder_that_cannot_be_read_is_told_and_not_passed_over(tmp_path, monkeypatch):
    folder = write_photos(tmp_path / "photos", NAMES)
    scandir = os.scandir

    def refusing(path):  # permissions do not keep root out
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with (
        open_source(str(folder)) as source,
        pytest.raises(UserError, match="A folder of photos cannot be read") as told,
    ):
        source.names()
    assert "cats/deep: Permission denied" in told.value.found


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../outside.jpg", "leads outside"),
        ("cats/../../outside.jpg", "leads outside"),
        ("cats\\..\\..\\outside.jpg", "leads outside"),
        ("/etc/outside.jpg", "absolute"),
        ("\\outside.jpg", "absolute"),
        ("C:\\outside.jpg", "absolute"),
        ("C:/outside.jpg", "absolute"),
    ],
)
def test_a_zip_member_that_leads_outside_is_refused_by_name(name, reason, tmp_path):
    error = refused_zip(zip_with(tmp_path / "bad.zip", zipfile.ZipInfo(name)))
    assert reason in error.found and repr(name) in error.found and "bad.zip" in error.asked


def test_a_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "it is a link" in refused_zip(zip_with(tmp_path / "bad.zip", link)).found


def test_an_encrypted_zip_is_refused(tmp_path):
    path = zip_with(tmp_path / "bad.zip", "second.jpg")
    data = bytearray(path.read_bytes())
    place = data.rfind(b"PK\x01\x02") + 8
    data[place] |= 1
    path.write_bytes(data)
    assert "it is encrypted" in refused_zip(path).found


def test_backslashes_separate_folders_as_windows_means_them(tmp_path):
    with open_source(str(zip_with(tmp_path / "a.zip", zipfile.ZipInfo("cats\\a.jpg")))) as source:
        assert source.names() == ["cats/a.jpg", "fine.jpg"]
        assert source.read("cats/a.jpg") == b"x"


def test_what_is_neither_a_folder_nor_a_zip_is_refused(tmp_path):
    (tmp_path / "text.zip").write_text("no archive")
    assert "nor a .zip that can be opened" in refused_zip(tmp_path / "text.zip").found
    with pytest.raises(UserError, match="no photos to convert") as refused, open_source(str(tmp_path / "nothing")):
        pass
    assert "text.zip" in refused.value.found


def test_a_damaged_member_is_unreadable_and_the_others_are_not(tmp_path):
    folder = write_photos(tmp_path / "photos", ["a.jpg", "b.jpg"])
    path = zipped(folder, tmp_path / "photos.zip")
    content = (folder / "a.jpg").read_bytes()
    path.write_bytes(path.read_bytes().replace(content, content[:-1] + b"?"))
    with open_source(str(path)) as source:
        with pytest.raises(UnreadableError, match="Bad CRC"):
            source.read("a.jpg")
        assert source.read("b.jpg") == (folder / "b.jpg").read_bytes()


def test_a_broken_link_a_pipe_and_a_huge_file_are_unreadable(tmp_path, monkeypatch):
    write_photos(tmp_path, ["a.jpg"])
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.setattr(photo_source, "MOST_BYTES", 1 << 20)
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate((1 << 20) + 1)
    with open_source(str(tmp_path)) as source:
        for name, reason in (("broken", "No such file"), ("pipe", "not a regular file"), ("huge", "larger than 1 MiB")):
            with pytest.raises(UnreadableError, match=reason):
                source.read(f"{name}.jpg")


def test_a_zip_member_that_would_unpack_to_far_too_much_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(photo_source, "MOST_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.jpg", bytes((1 << 20) + 1))
    with open_source(str(tmp_path / "bomb.zip")) as source, pytest.raises(UnreadableError, match="larger than 1 MiB"):
        source.read("bomb.jpg")


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    elsewhere = write_photos(tmp_path / "elsewhere", ["a.jpg"])
    photos = write_photos(tmp_path / "photos", ["dogs/b.jpg"])
    (photos / "cats").symlink_to(elsewhere)
    (photos / "dogs" / "again").symlink_to(photos)
    with open_source(str(photos)) as source:
        assert [name for name in source.names() if name.endswith(".jpg")] == ["cats/a.jpg", "dogs/b.jpg"]
