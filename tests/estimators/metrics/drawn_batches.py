"""Predictions and labels that hypothesis draws, shared by the tests of this folder."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

Batch = tuple[npt.NDArray[Any], npt.NDArray[Any]]

# Few values, so that most draws hold ties; 1/3 and its neighbours catch a comparison that is not exact.
_SCORES = (
    0.0,
    0.1,
    0.3,
    float(np.float32(1 / 3)),
    float(np.nextafter(np.float32(1 / 3), np.float32(1))),
    0.5,
    0.7,
    1.0,
)


@st.composite
def batches(draw: st.DrawFn, columns: int | None = None, min_rows: int = 0, max_rows: int = 40) -> Batch:
    """Float32 or float64 predictions and 0/1 labels, both [N, K]; `columns` None draws K as well."""
    shape = (draw(st.integers(min_rows, max_rows)), columns or draw(st.integers(1, 5)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tied = draw(st.booleans())
    scores = generator.choice(_SCORES, shape) if tied else generator.random(shape)
    labels = generator.random(shape) < draw(st.sampled_from((0.0, 0.05, 0.5, 1.0)))
    dtype = draw(st.sampled_from((np.float32, np.float64)))
    return scores.astype(dtype), labels.astype(draw(st.sampled_from((np.bool_, np.int64, np.float32))))


def sklearn_average_precision(scores: npt.ArrayLike, labels: npt.ArrayLike, **options: Any) -> float:
    """scikit-learn's figure, without its warning that there is no positive example."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(average_precision_score(np.asarray(labels).astype(int), scores, **options))
