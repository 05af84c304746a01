"""A surface to draw posed shapes on: shapes are given in head units, the pose turns them into pixels.

In head units the head's centre is (0, 0), x grows to the right, y grows downwards, and the head reaches about 1 to
each side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Colour: TypeAlias = tuple[int, int, int]
Points: TypeAlias = npt.NDArray[np.float64]

# Everything is drawn at this multiple of its size and reduced at the end, which smooths the edges.
SUPERSAMPLING = 2

_TURN = np.linspace(0.0, 2.0 * np.pi, 28, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
_STEPS = np.linspace(0.0, 1.0, 6, endpoint=False)[:, None]
# The weights of four neighbouring control points along a Catmull-Rom segment, [6, 4].
# https://en.wikipedia.org/wiki/Centripetal_Catmull%E2%80%93Rom_spline (the uniform case)
_SPLINE = 0.5 * np.concatenate(
    [
        -_STEPS + 2 * _STEPS**2 - _STEPS**3,
        2 - 5 * _STEPS**2 + 3 * _STEPS**3,
        _STEPS + 4 * _STEPS**2 - 3 * _STEPS**3,
        -(_STEPS**2) + _STEPS**3,
    ],
    axis=1,
)


def ellipse(x: float, y: float, radius_x: float, radius_y: float, tilt: float = 0.0) -> Points:
    """The outline of an ellipse around (x, y), turned by `tilt` radians: [28, 2]."""
    outline: Points = _CIRCLE * (radius_x, radius_y)
    if tilt:
        cos, sin = np.cos(tilt), np.sin(tilt)
        outline = outline @ np.array([[cos, sin], [-sin, cos]])
    outline += (x, y)
    return outline


def rounded(*corners: tuple[float, float]) -> Points:
    """A smooth closed outline through K corners: [6 K, 2]."""
    order = np.arange(len(corners)) + np.array([[-1], [0], [1], [2]])
    neighbours = np.array(corners)[order % len(corners)]  # [4, K, 2]
    outline: Points = np.einsum("sn,nkd->ksd", _SPLINE, neighbours).reshape(-1, 2)
    return outline


def symmetric(*right_half: tuple[float, float]) -> Points:
    """A smooth closed outline through K corners on the right and their mirror images: [12 K, 2]."""
    return rounded(*right_half, *((-x, y) for x, y in reversed(right_half)))


def clipped_colour(channels: npt.NDArray[Any]) -> Colour:
    """A colour out of three numbers, each brought into 8 … 247."""
    red, green, blue = (int(channel) for channel in channels.clip(8, 247))
    return red, green, blue


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where the head is and how it is held.

    Attributes:
      x, y: the head's centre, as a share of the picture's width and height.
      size: half the head's width, in pixels of the finished picture.
      tilt: the head's turn in the picture's plane, in radians.
      yaw, pitch: how far the features move sideways and down on the head, in head units, since it looks elsewhere.
    """

    x: float
    y: float
    size: float
    tilt: float
    yaw: float
    pitch: float


class Canvas:
    """Draws shapes given in head units onto a picture."""

    def __init__(self, picture: Image.Image, pose: Pose) -> None:
        cos, sin = np.cos(pose.tilt), np.sin(pose.tilt)
        scale = pose.size * SUPERSAMPLING
        self._draw = ImageDraw.Draw(picture)
        # A head that looks sideways is seen a little narrower.
        self._matrix = np.array([[cos * (1 - 0.4 * abs(pose.yaw)), sin], [-sin, cos]]) * scale
        self._offset = np.array([pose.x * picture.width, pose.y * picture.height])
        self._feature_shift = np.array([pose.yaw, pose.pitch])
        self._scale = scale

    def _pixels(self, points: Points, on_face: bool) -> list[Any]:
        if on_face:
            points = points + self._feature_shift
        pixels: list[Any] = (points @ self._matrix + self._offset).ravel().tolist()
        return pixels

    def fill(self, outline: Points, colour: Colour, *, on_face: bool = False) -> None:
        """Fills a closed outline [N, 2]; `on_face` moves it with yaw and pitch."""
        self._draw.polygon(self._pixels(outline, on_face), fill=colour)

    def stroke(self, points: Points, colour: Colour, width: float, *, on_face: bool = False) -> None:
        """Draws an open line through [N, 2], `width` in head units (at least one drawn pixel)."""
        pixels = max(1, round(width * self._scale))
        self._draw.line(self._pixels(points, on_face), fill=colour, width=pixels, joint="curve" if pixels > 3 else None)
