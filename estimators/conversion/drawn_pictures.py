"""One drawn picture of a cat or a dog: no download, no licence question."""

from __future__ import annotations

import io

import numpy as np

from estimators.conversion import drawn_scenes
from estimators.conversion.drawing_canvas import SUPERSAMPLING, Canvas, Pose
from estimators.conversion.drawn_faces import draw_cat, draw_dog

CLASS_NAMES = ("cat", "dog")
_DRAW_FACE = (draw_cat, draw_dog)


def _picture_size(rng: np.random.Generator) -> tuple[int, int]:
    """Width and height in pixels, 200 to 500 each: landscape, portrait and square."""
    long_side, aspect = rng.integers(220, 421), rng.uniform(0.7, 1.0)
    short_side = max(200, round(long_side * aspect))
    landscape = rng.random() < 0.6
    return (int(long_side), short_side) if landscape else (short_side, int(long_side))


def _pose(width: int, height: int, rng: np.random.Generator) -> Pose:
    size = min(width, height) * rng.uniform(0.2, 0.36)
    return Pose(
        x=rng.uniform(0.32, 0.68),
        y=rng.uniform(0.36, 0.62),
        size=size,
        tilt=rng.normal(0.0, 0.25),
        yaw=rng.uniform(-0.25, 0.25),
        pitch=rng.uniform(-0.12, 0.12),
    )


def draw_picture(seed: int, index: int, label: int) -> bytes:
    """Draws picture `index` of the data set `seed`.

    The random numbers come from (seed, index) alone, so the same picture comes out in whatever order and process
    the pictures are drawn.

    Args:
      seed: the data set's seed, at least 0.
      index: the picture's number in it, at least 0.
      label: 0 draws a cat, 1 a dog.

    Returns:
      A baseline JPEG, 200 to 500 pixels wide and high.
    """
    rng = np.random.default_rng((seed, index))
    width, height = _picture_size(rng)
    picture = drawn_scenes.background(width, height, rng)
    _DRAW_FACE[label](Canvas(picture, _pose(width, height, rng)), rng)
    if rng.random() < 0.15:
        drawn_scenes.put_something_in_front(picture, rng)
    finished = drawn_scenes.lit_and_noisy(picture.reduce(SUPERSAMPLING), rng)
    file = io.BytesIO()
    finished.save(file, "JPEG", quality=int(rng.integers(70, 93)))
    return file.getvalue()
