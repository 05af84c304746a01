"""TensorBoard as a person sees it: a headless browser draws the page, and its picture is kept."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver

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


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[WebDriver]:
    """A headless chromium, driven as a person would: it is looked at while the page comes, not once."""
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.fail("THE BROWSER TEST CANNOT RUN HERE: no chromedriver; apt-get install chromium-driver", pytrace=False)
    options = Options()
    options.page_load_strategy = "none"  # TensorBoard asks for new data as long as it is open
    for flag in (
        "--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
        "--disable-dev-shm-usage", "--window-size=1400,1000", f"--user-data-dir={tmp_path}/profile",
    ):  # fmt: skip
        options.add_argument(flag)
    chromium = Chrome(options=options, service=Service(driver))
    yield chromium
    chromium.quit()


def _pixels_of_curves(screenshot: bytes) -> dict[str, int]:
    charts = np.asarray(Image.open(io.BytesIO(screenshot)).convert("RGB"))[:, _LEFT_OF_CHARTS:].reshape(-1, 3)
    return {run: int((charts == colour).all(1).sum()) for run, colour in _COLOURS.items()}


def test_the_page_shows_the_curves_of_training_and_evaluation(browser: WebDriver, tmp_path: Path) -> None:
    for name, best in {"first": 0.9, "second": 0.7}.items():
        draw_run(tmp_path / "runs" / name, {"loss": [1.0, 0.5, 0.3, 1 - best], "Hit@1": [0.5, 0.6, 0.65, best]})
    _SCREENSHOT.parent.mkdir(exist_ok=True)
    with tensorboard(tmp_path / "runs") as (url, _):
        browser.get(f"{url}/#scalars")
        until = time.monotonic() + 180
        while True:
            _SCREENSHOT.write_bytes(screenshot := browser.get_screenshot_as_png())
            drawn = _pixels_of_curves(screenshot)
            if all(pixels > 50 for pixels in drawn.values()):
                break
            assert time.monotonic() < until, drawn
            time.sleep(0.5)
    print(f"\nscreenshot: {_SCREENSHOT}\npixels of each curve: {drawn}")
