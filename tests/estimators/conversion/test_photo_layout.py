from __future__ import annotations

import random
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators.conversion.photo_layout import Layout, natural_order, read_layout
from estimators.errors import DataError, UserError


def layout(*names: str) -> Layout:
    return read_layout(names, "--input=x")


def refused(*names: str) -> UserError:
    with pytest.raises(UserError) as caught:
        layout(*names)
    assert caught.value.asked == "--input=x" and caught.value.change
    return caught.value


def labels(found: Layout) -> dict[str, int | None]:
    return {photo.name: photo.label for photo in found.photos}


def test_folders_are_classes_in_the_order_of_their_names():
    found = layout("dogs/b.jpg", "cats/a.jpg", "Zebras/c.png")
    assert found.class_names == ("Zebras", "cats", "dogs")
    assert labels(found) == {"Zebras/c.png": 0, "cats/a.jpg": 1, "dogs/b.jpg": 2}
    assert [photo.image_id for photo in found.photos] == ["a.jpg", "b.jpg", "c.png"]


def test_a_class_folder_may_hold_folders():
    assert labels(layout("cats/", "cats/2019/", "cats/2019/a.jpg", "dogs/b.jpg")) == {
        "cats/2019/a.jpg": 0,
        "dogs/b.jpg": 1,
    }


def test_flat_names_tell_their_class():
    found = layout("dog.10.jpg", "dog.9.jpg", "cat.0.jpg")
    assert found.class_names == ("cat", "dog")
    assert [(photo.image_id, photo.label) for photo in found.photos] == [
        ("cat.0.jpg", 0),
        ("dog.9.jpg", 1),
        ("dog.10.jpg", 1),
    ]


def test_photos_without_classes_are_in_their_natural_order():
    found = layout("10.jpg", "1.jpg", "2.jpg", "100.jpg")
    assert found.class_names == () and set(labels(found).values()) == {None}
    assert [photo.image_id for photo in found.photos] == ["1.jpg", "2.jpg", "10.jpg", "100.jpg"]


@pytest.mark.parametrize("base", ["train/", "photos/train/", "test/"])
def test_a_folder_around_all_is_passed_through(base):
    assert labels(layout(f"{base}cat.0.jpg", f"{base}dog.0.jpg")) == {f"{base}cat.0.jpg": 0, f"{base}dog.0.jpg": 1}
    assert labels(layout("readme.txt", base, f"{base}cats/0.jpg", f"{base}dogs/1.jpg")) == {
        f"{base}cats/0.jpg": 0,
        f"{base}dogs/1.jpg": 1,
    }


def test_a_folder_named_test_around_photos_without_classes_is_a_test_set():
    assert labels(layout("test1/1.jpg", "test1/2.jpg")) == {"test1/1.jpg": None, "test1/2.jpg": None}


def test_a_folder_around_photos_without_classes_is_one_class():
    error = refused("cats/", "cats/a.jpg", "cats/b.jpg")
    assert error.summary == "There is only one class" and error.found.startswith("cats")
    assert "test set" in error.change


@pytest.mark.parametrize("base", ["", "holiday/"])
def test_one_class_in_flat_names_is_refused_with_the_flag_for_photos_that_have_none(base):
    error = refused(f"{base}photo.1.jpg", f"{base}photo.2.jpg")
    assert error.summary == "There is only one class" and error.found.startswith("photo,")
    assert "--unlabelled" in error.change


@pytest.mark.parametrize(
    "names",
    [
        ("photo.1.jpg", "photo.2.jpg", "photo.10.jpg"),
        ("holiday/photo.1.jpg", "holiday/img.2.jpg", "holiday/IMG_3.jpg"),
        ("a/photo.1.jpg", "b/", "b/c/photo.2.jpg", "photo.3.jpg"),
    ],
)
def test_photos_that_are_said_to_have_no_classes_have_none_whatever_they_are_called(names):
    found = read_layout((*names, "notes.txt"), "--input=x", unlabelled=True)
    assert found.class_names == () and found.passed_over == ("notes.txt",)
    pictures = {name for name in names if not name.endswith("/")}
    assert labels(found) == dict.fromkeys(pictures)
    ids = [photo.image_id for photo in found.photos]
    assert ids == sorted(ids, key=natural_order)


def test_photos_without_classes_must_have_ids_of_their_own_too():
    with pytest.raises(DataError, match="the same id"):
        read_layout(("a/photo.1.jpg", "b/photo.1.jpg"), "--input=x", unlabelled=True)


def test_an_empty_class_folder_is_refused_since_the_labels_would_shift():
    error = refused("cats/", "cats/a.jpg", "dogs/", "horses/", "horses/b.jpg")
    assert "holds no picture" in error.summary and "dogs" in error.found


@pytest.mark.parametrize("names", [(), ("cats/", "dogs/"), ("notes.txt",), ("__MACOSX/a.jpg", ".hidden/b.jpg")])
def test_where_there_is_no_picture_that_is_said(names):
    assert refused(*names).summary == "There is no picture to convert"


def test_folders_that_are_splits_are_not_taken_for_classes():
    error = refused("train/cat.0.jpg", "train/dog.0.jpg", "test1/1.jpg")
    assert "splits, not classes" in error.summary and "test1, train" in error.found
    assert layout("train/a.jpg", "car/b.jpg").class_names == ("car", "train")


def test_pictures_in_folders_and_beside_them_are_refused():
    error = refused("cats/a.jpg", "dogs/b.jpg", "c.jpg")
    assert "c.jpg" in error.found and "cats/a.jpg" in error.found


def test_names_with_and_without_a_class_are_refused_with_an_example_of_each():
    error = refused("cat.0.jpg", "dog.0.jpg", "IMG_1.jpg")
    assert "2 such as cat.0.jpg" in error.found and "1 such as IMG_1.jpg" in error.found


def test_two_pictures_of_one_id_are_named_both():
    error = refused("cats/1.jpg", "cats/2.jpg", "dogs/1.jpg")
    assert isinstance(error, DataError)
    assert error.found == "cats/1.jpg and dogs/1.jpg; the id is the file's name"
    many = refused("cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/2.jpg")
    assert many.found.endswith("; 1 more like that")


def test_the_way_out_of_a_clash_that_is_told_is_one(tmp_path):
    for name in ("cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    line = refused("cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/2.jpg").change.partition("each: ")[2]
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    names = [str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*")]
    assert {photo.image_id for photo in layout(*names).photos} == {
        "cats_1.jpg",
        "cats_2.jpg",
        "dogs_1.jpg",
        "dogs_2.jpg",
    }


def test_a_zip_of_zips_is_told_as_that():
    assert "such as train.zip" in refused("train.zip", "sample.csv").change


def test_what_a_zip_holds_twice_is_a_clash():
    assert "cat.0.jpg and cat.0.jpg" in refused("cat.0.jpg", "cat.0.jpg", "dog.0.jpg").found


def test_files_that_systems_leave_are_ignored_and_others_are_told():
    found = layout("cats/a.jpg", "dogs/b.jpg", ".DS_Store", "cats/Thumbs.db", "__MACOSX/cats/._a.jpg", "labels.csv")
    assert found.passed_over == ("labels.csv",) and len(found.photos) == 2


def test_pictures_of_kinds_that_cannot_be_converted_are_not_passed_over():
    found = layout("cats/a.JPG", "dogs/b.heic", "dogs/c.TIF")
    assert found.passed_over == () and len(found.photos) == 3


@given(st.lists(st.text(min_size=1, max_size=5), unique=True))
def test_the_natural_order_is_an_order_of_any_names(names):
    ordered = sorted(names, key=natural_order)
    shuffled = random.Random(0).sample(names, len(names))
    assert sorted(shuffled, key=natural_order) == ordered
