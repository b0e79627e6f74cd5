"""The pages in a real browser, without console errors."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from monitoring.presenter.links import column_path, compare_windows_path, window_path
from tests.monitoring.web.browser import browsing

pytestmark = pytest.mark.untraced

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
SIDEWAYS = """[...document.querySelectorAll(".scroll")].filter(part =>
    part.scrollWidth > part.clientWidth && !part.querySelector(".confusion"))
    .map(part => part.closest("section").querySelector("h2").id).join()"""
WIDTHS = (1280, 1000, 390)  # a desk, half of one, a phone


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("NO PAGE SEEN IN A BROWSER: no chromium on this machine")
    return found


@pytest.mark.parametrize("path", ["/", "/models/flights/1"])
def test_a_page_is_drawn_without_console_errors(
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
    paths += [column_path("flights", "1", "dep_hour"), compare_windows_path("flights", "1")]
    wider = {}
    with browsing(chromium, QUIET, tmp_path / "profile") as browser:
        for path in paths:
            for width in WIDTHS:
                browser.show(str(client.base_url).rstrip("/") + path, width)
                wider[path, width] = browser.ask(BEYOND)
            assert (path, browser.ask(SIDEWAYS)) == (path, "")
    assert max(wider.values()) <= 0, wider


TYPED = """
const field = document.getElementById("q");
field.value = "FL";
field.dispatchEvent(new Event("input", {bubbles: true}));
location.search
"""
LINKED = """
new Promise((resolve) => {
  const linked = () => document.querySelector('#filters a[href="/?q=FL"]') !== null;
  const watch = () => linked() && resolve(document.querySelectorAll("#version-rows tr").length);
  const all = {subtree: true, childList: true, attributes: true};
  new MutationObserver(watch).observe(document.body, all);
  watch();
})
"""


def test_a_typed_search_is_in_the_address_and_in_the_links(
    client: httpx.Client, chromium: str, tmp_path: Path
) -> None:
    with browsing(chromium, QUIET, tmp_path / "profile") as browser:
        browser.show(f"{str(client.base_url).rstrip('/')}/?from=0&verdict=ok", 1280)
        assert browser.ask(TYPED) == "?verdict=ok&q=FL"
        assert browser.ask(LINKED) == 1, "the other rows are gone"


POINTED = """
(() => {
  const marks = document.querySelectorAll(".pictures .wide svg.chart:not(.heat) .target");
  marks[33].dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
  return document.querySelector(".readout").textContent;
})()
"""
PRESSED = """
(() => {
  const chart = document.querySelector(".pictures .wide svg.chart.heat");
  const press = (key) => chart.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  const read = () => document.querySelector(".readout").textContent;
  chart.dispatchEvent(new FocusEvent("focusin", {bubbles: true})); // no window has the focus here
  const words = [read()];
  for (const key of ["ArrowLeft", "ArrowUp", "Escape"]) { press(key); words.push(read()); }
  const hidden = document.querySelector(".readout").hidden;
  press("?");
  return [...words.slice(0, 3), hidden, document.getElementById("keys").open];
})()
"""


def test_charts_are_read_by_pointer_and_keys(
    client: httpx.Client, chromium: str, tmp_path: Path
) -> None:
    with browsing(chromium, QUIET, tmp_path / "profile") as browser:
        browser.show(f"{str(client.base_url).rstrip('/')}/models/flights/1", 1280)
        assert browser.ask(POINTED) == "26 Aug – 1 Sep 2013: 65% drifted, threshold 30%"
        pressed = json.loads(browser.ask(f"JSON.stringify({PRESSED})"))
        latest, before, above, hidden, opened = pressed
        assert "7–13 Oct 2013" in latest
        assert "30 Sep – 6 Oct 2013" in before
        assert above.partition(",")[0] != before.partition(",")[0], "another feature"
        assert "threshold 0.100" in above
        assert (hidden, opened) == (True, True)


SAVED = """
(() => {
  const form = document.getElementById("save-filter");
  form.elements.name.value = "<b>calm</b>";
  form.requestSubmit();
  const link = document.querySelector("#saved-list a");
  return [link.textContent, link.getAttribute("href"), form.hidden].join(" ");
})()
"""
DELETED = """
(() => {
  const before = document.querySelectorAll("#saved-list a").length;
  document.querySelector("#saved-list button").click();
  return [before, document.querySelectorAll("#saved-list a").length].join(" ");
})()
"""


def test_a_filter_is_saved_in_the_browser(
    client: httpx.Client, chromium: str, tmp_path: Path
) -> None:
    overview = str(client.base_url).rstrip("/")
    with browsing(chromium, QUIET, tmp_path / "profile") as browser:
        browser.show(f"{overview}/?verdict=ok&tz=Europe/Berlin&from=0", 1280)
        assert browser.ask(SAVED) == "<b>calm</b> /?verdict=ok true"
        browser.show(f"{overview}/", 1280)
        assert browser.ask(DELETED) == "1 0"
