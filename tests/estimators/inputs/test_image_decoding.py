from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from PIL import Image

from estimators.inputs.image_decoding import decode_image, to_model_input
from tests.estimators.drawn_records import encoded, noisy_picture, picture


def decoded(data: bytes, side: int = 32) -> npt.NDArray[np.uint8]:
    pixels = decode_image(tf.constant(data), side)
    assert pixels.dtype == tf.uint8 and pixels.shape == (side, side, 3)
    return np.asarray(pixels.numpy())


# Each ratio of a JPEG's own scaled decoding, and the sizes at and just below where the next one begins.
SIZES = [(32, 32), (63, 64), (64, 64), (65, 300), (127, 500), (128, 128), (255, 257), (256, 2000), (500, 375)]
SMALL_OR_LONG = [(1, 1), (5, 3), (31, 900), (900, 31), (8, 2000), (2000, 33)]


@pytest.mark.parametrize("size", SIZES + [(h, w) for w, h in SIZES] + SMALL_OR_LONG)
def test_a_jpeg_of_any_size_becomes_a_square_of_the_asked_size(size: tuple[int, int]) -> None:
    assert (decoded(picture(100, size=size)) == 100).all()


@pytest.mark.parametrize("side", [8, 33, 100])
def test_the_square_is_as_large_as_asked(side: int) -> None:
    assert (decoded(picture(60, size=(300, 200)), side) == 60).all()


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("L", "PNG"),
        ("LA", "PNG"),
        ("RGB", "BMP"),
        ("L", "BMP"),
        ("L", "GIF"),
    ],
)
def test_grey_cmyk_and_transparent_pictures_get_three_colours(mode: str, format: str) -> None:
    assert (decoded(picture(100, size=(300, 70), mode=mode, format=format)) == 100).all()


def test_an_animation_gives_its_first_picture() -> None:
    frames = [Image.new("L", (40, 40), grey) for grey in (50, 200)]
    assert (decoded(encoded(frames[0], format="GIF", save_all=True, append_images=frames[1:])) == 50).all()


def test_a_progressive_jpeg_is_decoded() -> None:
    assert (decoded(encoded(Image.new("RGB", (300, 200), (90, 90, 90)), progressive=True)) == 90).all()


@pytest.mark.parametrize("size", [(60, 60), (140, 100), (400, 300), (300, 1100)])
def test_what_is_left_and_what_is_above_stays_there(size: tuple[int, int]) -> None:
    quarters = np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((8, 8), np.uint8))
    pixels = decoded(encoded(Image.fromarray(quarters).resize(size, Image.Resampling.NEAREST), quality=95))[..., 0]
    centres = pixels[[8, 8, 24, 24], [8, 24, 8, 24]]
    np.testing.assert_allclose(centres, [0, 80, 160, 240], atol=3)


def test_a_smaller_decoding_looks_like_the_whole_picture_made_smaller() -> None:
    # Pixels drawn at an eighth of the size of the picture, so that they survive each ratio.
    coarse = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    image = Image.fromarray(coarse).resize((512, 512), Image.Resampling.BICUBIC)
    data = encoded(image, quality=95)
    whole = Image.open(io.BytesIO(data)).resize((64, 64), Image.Resampling.BOX)
    assert np.abs(decoded(data, 64).astype(int) - np.asarray(whole)).mean() < 6


@pytest.mark.parametrize("size", [(64, 64), (127, 127), (100, 700), (200, 127)])
def test_a_picture_is_never_decoded_to_less_than_the_asked_size(size: tuple[int, int]) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), quality=95)
    whole = Image.open(io.BytesIO(data)).resize((64, 64), Image.Resampling.BILINEAR)
    assert np.abs(decoded(data, 64).astype(int) - np.asarray(whole)).mean() < 8


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"\xff\xd8\xff", noisy_picture()[:2000], noisy_picture()[:-2000], picture(1, format="PNG")[:60]],
    ids=["empty", "text", "start of a JPEG", "a tenth of a JPEG", "most of a JPEG", "half a PNG"],
)
def test_bytes_that_are_no_whole_picture_are_an_error(data: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(tf.constant(data), 32)


def test_black_is_minus_one_and_white_is_one() -> None:
    values = to_model_input(tf.constant([[0, 255, 51]], tf.uint8))
    assert values.dtype == tf.float32
    np.testing.assert_allclose(values, [[-1, 1, -0.6]], atol=1e-6)
