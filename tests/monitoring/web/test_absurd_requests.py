"""Absurd paths, queries and methods are client errors, never server errors."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import Route

from monitoring.storage.store import Store
from monitoring.web.app import app
from monitoring.web.server import serving
from tests.monitoring.web.conftest import FIRST, a_busy_store, written_to

pytestmark = pytest.mark.untraced

LONG = "9" * 5_000
NUMBERS = ["", "-1", "--1", "1.5", "1e5", "0x1", "٣", "²", "+5", "NaN", "null", "-" * 50, LONG]
NUMBERS += [str(2**63), str(-(2**63) - 1), str(2**64), "%00", "%ff", "a" * 3_000, "1%0a", " 1"]
NAMES = ["%00", "%ff%fe", "%F0%9F%92%A9", "a" * 3_000, "..", "%2e%2e", "%2f", "'", "%25", "%0a"]
NAMES += ["%ed%a0%80", "{", "*", "%5c", "%E2%80%AE", " "]
PATHS = [
    *(f"/models/flights/1/windows/{one}" for one in NUMBERS),
    *(f"/api/models/flights/versions/1/windows/{one}" for one in NUMBERS),
    *(f"/api/models/flights/versions/1/windows/{one}/rows.parquet" for one in NUMBERS),
    *(f"/api/models/flights/versions/1/results?last={one}" for one in NUMBERS),
    *(f"/api/models/flights/versions/1/results?before={one}" for one in NUMBERS),
    *(f"/models/flights/1?until={one}" for one in NUMBERS),
    *(f"/models/{one}/1" for one in NAMES),
    *(f"/models/flights/{one}" for one in NAMES),
    *(f"/api/models/{one}/versions/{one}/results" for one in NAMES),
    *(f"/api/models/{one}/versions/1/policies" for one in NAMES),
    *(f"/api/models/{one}/versions/1/windows/{FIRST}" for one in NAMES),
    *(f"/?q={one}&sort={one}" for one in NAMES),
    *(f"/reports/{one}.html" for one in NAMES),
    *(f"/reports/content/{one}.html" for one in NAMES),
    *(f"/api/models/flights/versions/1/windows/{FIRST}/samples/{one}.png" for one in NUMBERS),
    *(f"/static/{one}" for one in NAMES),
    *(f"/{one}" for one in NAMES),
    "/?" + "&".join("q=1" for _ in range(2_000)),
    "//models/flights/1",
    "/models//1",
    "/api/models/flights/versions/1/results?last=&before=&last=1",
]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def page(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    where: Path | str = tmp_path_factory.mktemp("home") / "monitor.db"
    if request.param == "postgresql":
        where = request.getfixturevalue("postgres").schema()
    written_to(where, a_busy_store())  # type: ignore[arg-type]
    reports = tmp_path_factory.mktemp("reports")
    with (
        serving(app(lambda: Store(where), reports), "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        yield client


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:60])
def test_an_absurd_request_is_a_client_error(page: httpx.Client, path: str) -> None:
    reply = page.get(path)
    assert reply.status_code < 500, reply.text[:300]
    assert "Traceback" not in reply.text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", ["acknowledge", "resolve"])
def test_absurd_alarm_ids_are_not_found(page: httpx.Client, name: str, step: str) -> None:
    assert page.post(f"/api/alarms/{name}/{step}").status_code in {400, 404, 405, 307}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "HEAD", "X"])
def test_other_methods_are_refused(page: httpx.Client, method: str) -> None:
    for path in ("/", "/api/overview", "/api/alarms/a/resolve", "/metrics", "/reports/x.html"):
        assert page.request(method, path).status_code < 500


def test_no_address_fails_on_hostile_names_and_numbers(page: httpx.Client) -> None:
    """Every route of the application, so that a new page is tried without being listed here."""
    templates = [
        route.path
        for route in app(lambda: Store(Path()), Path()).routes
        if isinstance(route, Route) and "GET" in (route.methods or ())
    ]
    assert len(templates) > 40
    paths = {
        fill_in(template, **{hostile: name})
        for template in templates
        for hostile in re.findall(r"{(\w+)", template)
        for name in ("%00", "%ff%fe", "%2f", LONG)
    }
    query = "&".join(f"{name}=-5" for name in ("from", "until", "before", "last", "limit"))
    paths |= {f"{fill_in(template)}?{query}" for template in templates}
    failures = [path for path in sorted(paths) if page.get(path, timeout=60).status_code >= 500]
    assert failures == []


def fill_in(template: str, **hostile: str) -> str:
    names = {"model": "flights", "version": "1", "start": str(FIRST), "column": "dest"} | hostile
    return re.sub(r"{(\w+)(:\w+)?}", lambda match: names.get(match[1], "1"), template)
