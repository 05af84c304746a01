"""What a predictor makes sure of before it predicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvd_cluster.prediction.predictor import Predictor, PredictorSettings
from estimators.errors import UserError
from estimators.train_dir.exports import digest_of


def test_a_model_that_is_another_one_on_this_node_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"of last week")
    meant = digest_of(str(tmp_path))
    (tmp_path / "saved_model.pb").write_bytes(b"of yesterday")
    settings = PredictorSettings(str(tmp_path), meant, batch_size=8, threads=1, max_image_pixels=1000)
    with pytest.raises(UserError, match="has another model than this machine") as caught:
        Predictor(settings).load()
    assert caught.value.asked == f"the model in {tmp_path}"
