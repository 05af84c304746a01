from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from estimators.conversion.drawn_pictures import draw_picture


def _opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture))


def _thumbnail(index: int, label: int) -> npt.NDArray[np.float32]:
    small = _opened(draw_picture(0, index, label)).resize((16, 16), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel() / 127.5 - 1


def test_the_same_seed_and_index_give_the_same_bytes():
    assert draw_picture(3, 7, 1) == draw_picture(3, 7, 1)


def test_seed_index_and_class_each_change_the_picture():
    assert len({draw_picture(3, 7, 1), draw_picture(4, 7, 1), draw_picture(3, 8, 1), draw_picture(3, 7, 0)}) == 4


def test_pictures_are_baseline_jpegs_of_200_to_500_pixels_and_of_different_sizes_and_shapes():
    pictures = [_opened(draw_picture(0, index, index % 2)) for index in range(30)]
    assert {(picture.format, picture.mode) for picture in pictures} == {("JPEG", "RGB")}
    assert not any("progressive" in picture.info for picture in pictures)
    assert all(200 <= side <= 500 for picture in pictures for side in picture.size)
    assert len({picture.size for picture in pictures}) > 20
    assert {picture.width > picture.height for picture in pictures} == {True, False}


def test_the_size_of_a_picture_does_not_tell_its_class():
    cats = [_opened(draw_picture(0, index, 0)).size for index in range(20)]
    dogs = [_opened(draw_picture(0, index, 1)).size for index in range(20)]
    assert cats == dogs


def test_no_single_pixel_or_sum_of_pixels_tells_the_classes_apart_for_certain():
    labels = np.arange(500) % 2
    pixels = np.stack([_thumbnail(index, label) for index, label in enumerate(labels.tolist())])
    linear = LogisticRegression(C=0.01, max_iter=300).fit(pixels[:300], labels[:300])
    assert 0.5 < linear.score(pixels[300:], labels[300:]) < 0.8


def test_an_unknown_class_is_no_picture():
    with pytest.raises(IndexError):
        draw_picture(0, 0, 2)
