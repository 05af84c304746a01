"""TensorBoard as a person sees it: a headless browser draws the page, and its picture is kept."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tensorboard_process import draw_run, tensorboard

pytestmark = pytest.mark.browser
_SCREENSHOT = Path(__file__).parents[2] / "build" / "tensorboard.png"


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.fail("THE BROWSER TEST CANNOT RUN HERE: no chromium; apt-get install chromium", pytrace=False)
    return found


def test_the_page_shows_the_curves_of_training_and_evaluation(browser: str, tmp_path: Path) -> None:
    for name in ("first", "second"):
        draw_run(tmp_path / "runs" / name, {"loss": [1.0, 0.5, 0.3, 0.2], "Hit@1": [0.5, 0.7, 0.8, 0.9]})
    line = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1000",
        f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=30000", "--run-all-compositor-stages-before-draw",
    ]  # fmt: skip
    _SCREENSHOT.parent.mkdir(exist_ok=True)
    with tensorboard(tmp_path / "runs") as (url, _):
        page = f"{url}/#timeseries"
        dom = subprocess.run(
            [*line, "--dump-dom", page], capture_output=True, text=True, timeout=180, check=True
        ).stdout
        subprocess.run([*line, f"--screenshot={_SCREENSHOT}", page], capture_output=True, timeout=180, check=True)
    for shown in ("first/eval", "second/eval", "loss", "Hit@1"):
        assert shown in dom, dom[-3000:]
    assert "<line-chart" in dom
    # Lines of several colours are drawn, not an empty page.
    pixels = np.asarray(Image.open(_SCREENSHOT).convert("RGB")).reshape(-1, 3)
    colours = {tuple(colour) for colour in pixels[(pixels.max(1).astype(int) - pixels.min(1)) > 100]}
    assert len(colours) > 3
    print(f"\nscreenshot: {_SCREENSHOT}")
