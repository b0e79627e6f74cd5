"""The pages in a real browser: drawn, and without a complaint."""

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

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
    told = subprocess.run(
        [chromium, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", *seen, address],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "<svg" in told.stdout
    assert "flights" in told.stdout
    complaints = [line for line in told.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
    assert picture.stat().st_size > 20_000, "a page that is drawn is no blank sheet"
