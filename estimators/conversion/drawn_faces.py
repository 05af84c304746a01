"""Cat-like and dog-like faces.

No single trait decides: fur, eyes, patterns and poses are drawn from the same choices for both, some cats fold their
ears and some dogs prick theirs. Muzzle, ears, eyes and whiskers together tell.
"""

from __future__ import annotations

import numpy as np

from estimators.conversion.drawing_canvas import Canvas, Colour, clipped_colour, ellipse, rounded, symmetric

_FURS: tuple[Colour, ...] = (
    (214, 138, 66),  # ginger
    (122, 118, 116),  # grey
    (58, 52, 50),  # black
    (236, 230, 220),  # white
    (138, 94, 58),  # brown
    (222, 196, 152),  # cream
    (168, 158, 140),  # silver
    (96, 72, 54),  # chocolate
)
_INNER_EAR: Colour = (226, 158, 150)
_DARK: Colour = (30, 24, 24)
_TONGUE: Colour = (226, 104, 118)
_CAT_EYES: tuple[Colour, ...] = ((148, 178, 72), (214, 176, 58), (112, 166, 196), (190, 128, 52))
_DOG_EYES: tuple[Colour, ...] = ((84, 52, 30), (58, 38, 26), (140, 92, 44), (126, 160, 186))


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """The colour `share` of the way from `first` to `second`."""
    return clipped_colour(np.array(first) * (1 - share) + np.array(second) * share)


class _Coat:
    """The colours of one animal."""

    def __init__(self, rng: np.random.Generator) -> None:
        base = _FURS[rng.integers(len(_FURS))]
        tint = rng.integers(-10, 11, size=3)
        self.fur = clipped_colour(base + tint)
        dark_coat = sum(self.fur) < 240
        self.marking = mixed(self.fur, (150, 140, 130) if dark_coat else (40, 30, 26), rng.uniform(0.25, 0.55))
        self.shade = mixed(self.fur, (0, 0, 0), rng.uniform(0.12, 0.28))
        self.pale = mixed(self.fur, (250, 244, 236), rng.uniform(0.25, 0.85))


def _draw_body(canvas: Canvas, rng: np.random.Generator, coat: _Coat) -> None:
    lean = rng.uniform(-0.35, 0.35)
    canvas.fill(ellipse(lean, 2.2, rng.uniform(0.95, 1.3), 1.6), coat.shade)
    if rng.random() < 0.5:
        canvas.fill(ellipse(lean, 1.75, 0.5, 0.8), coat.pale)
    if rng.random() < 0.3:
        canvas.stroke(ellipse(lean / 3, 0.75, 0.72, 0.4)[1:14], clipped_colour(rng.integers(20, 230, size=3)), 0.13)


def _draw_patch(canvas: Canvas, rng: np.random.Generator, coat: _Coat) -> None:
    side = rng.choice((-1.0, 1.0))
    patch = ellipse(side * 0.4, -0.15 + rng.uniform(-0.15, 0.1), rng.uniform(0.28, 0.42), rng.uniform(0.3, 0.45))
    canvas.fill(patch, coat.marking if rng.random() < 0.5 else coat.pale, on_face=True)


def _draw_forehead_stripes(canvas: Canvas, rng: np.random.Generator, coat: _Coat) -> None:
    for x in np.linspace(-0.3, 0.3, int(rng.integers(3, 6))):
        canvas.stroke(np.array([[x * 1.3, -0.8], [x, -0.42]]), coat.marking, rng.uniform(0.05, 0.1), on_face=True)


def _draw_markings(canvas: Canvas, rng: np.random.Generator, coat: _Coat, *, stripes: float, patches: float) -> None:
    """Draws what the chances `stripes` and `patches` allow."""
    if rng.random() < patches:
        _draw_patch(canvas, rng, coat)
    if rng.random() < stripes:
        _draw_forehead_stripes(canvas, rng, coat)
    if rng.random() < 0.3:  # a blaze from the forehead to the nose
        canvas.fill(symmetric((0.09, -0.85), (0.16, 0.3)), coat.pale, on_face=True)


def _draw_upright_ears(canvas: Canvas, rng: np.random.Generator, coat: _Coat, height: float, *, pink: bool) -> None:
    for side in (-1.0, 1.0):
        tip = np.array([rng.uniform(0.7, 1.0), -height * rng.uniform(0.9, 1.1)])
        outer = np.array([[0.95, -0.25], tip, [0.18, -0.78]])
        centre = outer.mean(axis=0)
        canvas.fill(outer * (side, 1.0), coat.fur)
        canvas.fill((centre + (outer - centre) * 0.62) * (side, 1.0), _INNER_EAR if pink else coat.shade)


def _draw_folded_ears(canvas: Canvas, rng: np.random.Generator, coat: _Coat) -> None:
    fold = rng.uniform(0.9, 1.1)
    ear = rounded((0.25, -0.86 * fold), (0.72, -0.95 * fold), (0.98, -0.5), (0.62, -0.52 * fold))
    for side in (-1.0, 1.0):
        canvas.fill(ear * (side, 1.0), coat.shade)


def _draw_floppy_ears(canvas: Canvas, rng: np.random.Generator, colour: Colour) -> None:
    length, spread = rng.uniform(0.15, 0.85), rng.uniform(0.95, 1.25)
    for side in (-1.0, 1.0):
        end = length + rng.uniform(-0.15, 0.15)
        ear = rounded((0.42, -0.86), (0.86, -0.82), (spread, end - 0.45), (spread - 0.08, end), (0.74, end - 0.3))
        canvas.fill(ear * (side, 1.0), colour)


def _draw_eyes(canvas: Canvas, rng: np.random.Generator, iris: Colour, radius: float, *, slit: bool) -> None:
    apart, height, open_by = rng.uniform(0.34, 0.44), rng.uniform(-0.2, -0.06), rng.uniform(0.65, 1.0)
    for side in (-1.0, 1.0):
        x = side * apart
        canvas.fill(ellipse(x, height, radius * 1.22, radius * 1.12 * open_by, side * 0.2), _DARK, on_face=True)
        canvas.fill(ellipse(x, height, radius, radius * 0.92 * open_by, side * 0.2), iris, on_face=True)
        pupil = radius * (rng.uniform(0.2, 0.45) if slit else 0.62)
        canvas.fill(ellipse(x, height, pupil, radius * 0.78 * open_by), _DARK, on_face=True)
        canvas.fill(ellipse(x + 0.05, height - 0.05, 0.035, 0.035), (250, 250, 250), on_face=True)


def _draw_mouth(canvas: Canvas, top: float, width: float) -> None:
    for side in (-1.0, 1.0):
        curve = np.array([[0.0, top], [0.0, top + 0.12], [side * width * 0.5, top + 0.2], [side * width, top + 0.12]])
        canvas.stroke(curve, _DARK, 0.035, on_face=True)


def _draw_tongue(canvas: Canvas, rng: np.random.Generator, top: float, size: float) -> None:
    tongue = rounded(
        (-size, top), (size, top), (size * 0.9, top + size * rng.uniform(1.6, 2.6)), (-size * 0.9, top + size * 2)
    )
    canvas.fill(tongue, _TONGUE, on_face=True)


def _draw_whiskers(canvas: Canvas, rng: np.random.Generator, coat: _Coat, length: float) -> None:
    colour = (245, 245, 240) if sum(coat.fur) < 480 else (96, 88, 84)
    for side in (-1.0, 1.0):
        for drop in (-0.12, 0.04, 0.2):
            end = (side * (0.3 + length * rng.uniform(0.8, 1.1)), 0.36 + 2.2 * drop + rng.uniform(-0.08, 0.08))
            canvas.stroke(np.array([(side * 0.24, 0.36 + drop), end]), colour, 0.022, on_face=True)


def draw_cat(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draws a cat's head and shoulders."""
    coat = _Coat(rng)
    _draw_body(canvas, rng, coat)
    folded = rng.random() < 0.12
    if not folded:
        _draw_upright_ears(canvas, rng, coat, rng.uniform(1.15, 1.55), pink=rng.random() < 0.8)
    width, height = rng.uniform(0.96, 1.08), rng.uniform(0.82, 0.94)
    canvas.fill(
        rounded(
            (0, -height),
            (width * 0.8, -0.5),
            (width, 0.2),
            (0.45, height),
            (-0.45, height),
            (-width, 0.2),
            (-width * 0.8, -0.5),
        ),
        coat.fur,
    )
    if folded:
        _draw_folded_ears(canvas, rng, coat)
    _draw_markings(canvas, rng, coat, stripes=0.5, patches=0.25)
    _draw_eyes(canvas, rng, _CAT_EYES[rng.integers(len(_CAT_EYES))], rng.uniform(0.17, 0.23), slit=True)
    for side in (-1.0, 1.0):
        canvas.fill(ellipse(side * 0.16, 0.4, 0.22, rng.uniform(0.14, 0.19)), coat.pale, on_face=True)
    _draw_mouth(canvas, 0.3, 0.24)
    if rng.random() < 0.06:
        _draw_tongue(canvas, rng, 0.48, 0.1)
    nose = _INNER_EAR if rng.random() < 0.6 else _DARK
    canvas.fill(rounded((-0.12, 0.2), (0.12, 0.2), (0.0, 0.34)), nose, on_face=True)
    if rng.random() < 0.85:
        _draw_whiskers(canvas, rng, coat, rng.uniform(0.7, 1.05))


def draw_dog(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draws a dog's head and shoulders."""
    coat = _Coat(rng)
    _draw_body(canvas, rng, coat)
    pricked = rng.random() < 0.25
    if pricked:
        _draw_upright_ears(canvas, rng, coat, rng.uniform(1.2, 1.6), pink=rng.random() < 0.4)
    width, height = rng.uniform(0.8, 0.98), rng.uniform(0.92, 1.05)
    canvas.fill(
        rounded(
            (0, -0.95),
            (width, -0.5),
            (width * 0.95, 0.2),
            (0.5, height),
            (-0.5, height),
            (-width * 0.95, 0.2),
            (-width, -0.5),
        ),
        coat.fur,
    )
    if not pricked:
        _draw_floppy_ears(canvas, rng, coat.marking if rng.random() < 0.6 else coat.shade)
    _draw_markings(canvas, rng, coat, stripes=0.1, patches=0.4)
    _draw_eyes(canvas, rng, _DOG_EYES[rng.integers(len(_DOG_EYES))], rng.uniform(0.12, 0.17), slit=False)
    canvas.fill(ellipse(0.0, 0.48, rng.uniform(0.42, 0.54), rng.uniform(0.38, 0.46)), coat.pale, on_face=True)
    if rng.random() < 0.45:
        _draw_tongue(canvas, rng, 0.66, rng.uniform(0.13, 0.19))
    _draw_mouth(canvas, 0.45, rng.uniform(0.3, 0.4))
    canvas.fill(ellipse(0.0, 0.3, rng.uniform(0.16, 0.24), rng.uniform(0.11, 0.16)), _DARK, on_face=True)
    canvas.fill(ellipse(-0.04, 0.25, 0.05, 0.025), (120, 116, 116), on_face=True)
    if rng.random() < 0.2:
        _draw_whiskers(canvas, rng, coat, rng.uniform(0.3, 0.5))
