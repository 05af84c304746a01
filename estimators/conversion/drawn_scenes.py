"""What is around a drawn face: the background, things in front of it, light and noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from estimators.conversion.drawing_canvas import SUPERSAMPLING, Colour, clipped_colour

_Painter = Callable[[Image.Image, np.random.Generator], None]


def random_colour(rng: np.random.Generator) -> Colour:
    """Any colour, the loudest ones left out."""
    channels = rng.integers(24, 232, size=3)
    grey, fade = channels.mean(), rng.uniform(0.2, 0.8)
    return clipped_colour(channels + (grey - channels) * fade)


def _paint_wall_and_floor(picture: Image.Image, rng: np.random.Generator) -> None:
    draw, line = ImageDraw.Draw(picture), picture.height * rng.uniform(0.4, 0.85)
    slope = picture.height * rng.uniform(-0.12, 0.12)
    width, height = picture.size
    draw.polygon([0, line - slope, width, line + slope, width, height, 0, height], fill=random_colour(rng))


def _paint_stripes(picture: Image.Image, rng: np.random.Generator) -> None:
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    step, slant, colour = width / rng.integers(3, 12), rng.uniform(-0.6, 0.6) * height, random_colour(rng)
    for left in np.arange(-abs(slant), width + abs(slant), 2 * step).tolist():
        draw.polygon([left, 0, left + step, 0, left + step + slant, height, left + slant, height], fill=colour)


def _paint_spots(picture: Image.Image, rng: np.random.Generator) -> None:
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    for _ in range(rng.integers(4, 16)):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.03, 0.16) * width
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=random_colour(rng))


def _paint_blades(picture: Image.Image, rng: np.random.Generator) -> None:
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    for _ in range(rng.integers(10, 28)):
        x, top = rng.uniform(0, width), height * rng.uniform(0.2, 0.9)
        green = (int(rng.integers(30, 110)), int(rng.integers(90, 190)), int(rng.integers(20, 90)))
        draw.polygon(
            [x - width * 0.02, height, x + width * 0.02, height, x + rng.uniform(-0.1, 0.1) * width, top], fill=green
        )


def _paint_nothing(picture: Image.Image, rng: np.random.Generator) -> None:
    del picture, rng


_BACKGROUNDS: tuple[_Painter, ...] = (
    _paint_nothing,
    _paint_wall_and_floor,
    _paint_stripes,
    _paint_spots,
    _paint_blades,
)


def background(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """An empty scene to draw on, SUPERSAMPLING times as large as asked."""
    picture = Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING), random_colour(rng))
    _BACKGROUNDS[rng.integers(len(_BACKGROUNDS))](picture, rng)
    return picture


def put_something_in_front(picture: Image.Image, rng: np.random.Generator) -> None:
    """Covers a part of the picture: a ball, or a bar such as a branch or the edge of a sofa."""
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    x, y, colour = rng.uniform(0.1, 0.9) * width, rng.uniform(0.2, 0.95) * height, random_colour(rng)
    if rng.random() < 0.5:
        radius = rng.uniform(0.08, 0.17) * min(width, height)
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
    else:
        slope, thickness = rng.uniform(-0.4, 0.4) * height, round(rng.uniform(0.04, 0.12) * height)
        draw.line([0, y - slope, width, y + slope], fill=colour, width=thickness)


def _light(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """How bright each pixel is lit, from one brightness for each corner."""
    corners = np.clip(rng.uniform(0.7, 1.05) + rng.uniform(-0.22, 0.22, size=4), 0.4, 1.0)
    grey = Image.frombytes("L", (2, 2), (corners * 255).astype(np.uint8).tobytes())
    return grey.resize(size, Image.Resampling.BILINEAR).convert("RGB")


def lit_and_noisy(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture under uneven light, with the grain of a sensor."""
    # Pillow's 8-bit arithmetic does this in a quarter of the time that float arrays take.
    lit = ImageChops.multiply(picture, _light(picture.size, rng))
    strength = int(rng.integers(2, 22))
    grain = Image.frombytes("L", picture.size, rng.bytes(picture.width * picture.height))
    grain = grain.point([byte * 2 * strength // 255 for byte in range(256)])
    return ImageChops.add(lit, Image.merge("RGB", (grain, grain, grain)), offset=-strength)
