"""The pages in a real browser: drawn, and without a complaint."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from monitoring.presenter.links import window_path
from tests.monitoring.web.browser import browsing

QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
]

BEYOND = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
WIDTHS = (1280, 1000, 390)  # a desk, half of one, a phone


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("NO PAGE SEEN IN A BROWSER: no chromium on this machine")
    return found


@pytest.mark.parametrize("path", ["/", "/models/flights/1"])
def test_a_page_is_drawn_without_a_complaint(
    client: httpx.Client, chromium: str, tmp_path: Path, path: str
) -> None:
    picture = tmp_path / "page.png"
    address = str(client.base_url).rstrip("/") + path
    seen = [f"--screenshot={picture}", "--dump-dom", "--window-size=1280,1600"]
    reported = subprocess.run(
        [chromium, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", *seen, address],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "<svg" in reported.stdout
    assert "flights" in reported.stdout
    complaints = [line for line in reported.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
    assert picture.stat().st_size > 20_000, "a page that is drawn is no blank sheet"


def test_no_page_is_wider_than_its_window(
    client: httpx.Client, chromium: str, tmp_path: Path, store: Any
) -> None:
    window = next(result for result in store.all_results if result.model == "flights")
    scores = [
        replace(score, breached=True, note="the correlation of a and b is 0.56, -0.14 before")
        for score in window.scores
    ]
    grown = replace(
        window, scores=scores, confusion={f"class {n}": {"class 1": n} for n in range(20)}
    )
    store.all_results[store.all_results.index(window)] = grown
    paths = ["/", "/models/flights/1", window_path("flights", "1", window.window.start)]
    wider = {}
    with browsing(chromium, QUIET, tmp_path / "profile") as browser:
        for path in paths:
            for width in WIDTHS:
                browser.show(str(client.base_url).rstrip("/") + path, width)
                wider[path, width] = browser.ask(BEYOND)
    assert max(wider.values()) <= 0, wider
