"""TensorBoard as a person sees it: a headless browser draws the page, and its picture is kept."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tensorboard_process import draw_run, tensorboard

# TensorBoard's first four colours, which it gives to the runs in the order of their names.
_COLOURS = {
    "first": (255, 112, 67),
    "first/eval": (0, 119, 187),
    "second": (204, 51, 17),
    "second/eval": (51, 187, 238),
}
_LEFT_OF_CHARTS = 360
pytestmark = pytest.mark.browser
_SCREENSHOT = Path(__file__).parents[2] / "build" / "tensorboard.png"


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.fail("THE BROWSER TEST CANNOT RUN HERE: no chromium; apt-get install chromium", pytrace=False)
    return found


def test_the_page_shows_the_curves_of_training_and_evaluation(browser: str, tmp_path: Path) -> None:
    for name, best in {"first": 0.9, "second": 0.7}.items():
        draw_run(tmp_path / "runs" / name, {"loss": [1.0, 0.5, 0.3, 1 - best], "Hit@1": [0.5, 0.6, 0.65, best]})
    line = [
        browser, "--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
        "--disable-dev-shm-usage", "--window-size=1400,1000",
        f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=30000", "--run-all-compositor-stages-before-draw",
    ]  # fmt: skip
    _SCREENSHOT.parent.mkdir(exist_ok=True)
    with tensorboard(tmp_path / "runs") as (url, _):
        # This dashboard draws in the page; that of time series in a worker, which a screenshot does not wait for.
        page = f"{url}/#scalars"
        subprocess.run([*line, f"--screenshot={_SCREENSHOT}", page], capture_output=True, timeout=180, check=True)
    charts = np.asarray(Image.open(_SCREENSHOT).convert("RGB"))[:, _LEFT_OF_CHARTS:].reshape(-1, 3)
    drawn = {run: int((charts == colour).all(1).sum()) for run, colour in _COLOURS.items()}
    print(f"\nscreenshot: {_SCREENSHOT}\npixels of each curve: {drawn}")
    assert all(pixels > 50 for pixels in drawn.values()), drawn
