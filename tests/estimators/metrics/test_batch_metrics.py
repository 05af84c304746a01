from __future__ import annotations

from hypothesis import given

from estimators.metrics import batch_metrics, global_average_precision, hit_at_one, precision_at_equal_recall
from tests.estimators.metrics.drawn_batches import batches


def test_by_hand():
    hit, perr, gap = batch_metrics([[0.9, 0.8], [0.3, 0.2]], [[1, 0], [0, 1]])
    assert (hit, perr) == (0.5, 0.5)
    assert gap == (1 + 1 / 2) / 2


@given(batches())
def test_they_are_the_numbers_of_the_single_functions(batch):
    measured = batch_metrics(*batch)
    assert measured.hit_at_one == hit_at_one(*batch)
    assert measured.perr == precision_at_equal_recall(*batch)
    assert measured.gap == global_average_precision(*batch)
