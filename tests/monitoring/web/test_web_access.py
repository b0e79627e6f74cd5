"""The status page requires the service's keys, which browsers can send."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from access.tls import Tls
from driftline.cli import driftline
from eventlog.errors import SettingError
from monitoring.web.app import app
from monitoring.web.server import serving
from tests.access.certificates import Certificates
from tests.access.key_store import Door
from tests.monitoring.web.conftest import FakeStore, an_alarm

PAGES = ["/", "/api/models", "/api/ledger", "/metrics", "/static/style.css", "/reports/x.html"]


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def page(door: Door, tmp_path: Path) -> Iterator[httpx.Client]:
    made = app(lambda: FakeStore(all_alarms=[an_alarm()]), tmp_path, authorizer=door.authorizer)
    with (
        serving(made, "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        yield client


def bearer(header: bytes) -> dict[str, str]:
    return {"authorization": header.decode()}


def basic(header: bytes) -> dict[str, str]:
    pair = b"anybody:" + header.removeprefix(b"Bearer ")
    return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}


def test_without_keys_the_page_is_open(page: httpx.Client) -> None:
    assert page.get("/api/models").status_code == 200


@pytest.mark.parametrize("path", PAGES)
def test_an_anonymous_caller_sees_nothing_and_a_browser_asks_for_a_password(
    page: httpx.Client, door: Door, path: str
) -> None:
    door.keys.add("read")
    door.later()
    for given in ({}, bearer(b"Bearer x"), basic(b"Bearer x"), {"authorization": "Basic ?"}):
        reply = page.get(path, headers=given)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Basic ")
    assert page.get("/health").status_code == 200


@pytest.mark.parametrize("how", [bearer, basic])
def test_a_key_to_read_sees_everything_and_changes_nothing(
    page: httpx.Client, door: Door, how: Callable[[bytes], dict[str, str]]
) -> None:
    reader, operator, caller = (
        door.keys.add("read"),
        door.keys.add("operate"),
        door.keys.add("predict", name="caller"),
    )
    door.later()
    for path in PAGES[:-1]:
        assert page.get(path, headers=how(reader)).status_code == 200
        static = path.startswith("/static/")  # part of every page, whatever its scope
        assert page.get(path, headers=how(caller)).status_code == (200 if static else 403)
    for path in ("/static", "/static/../api/models", "/static/%2e%2e/api/models", "/staticX"):
        assert page.get(path, headers=how(caller)).status_code in {403, 404}
    alarm = page.get("/api/alarms", headers=how(reader)).json()[0]["alarm_id"]
    acknowledge = f"/api/alarms/{alarm}/acknowledge"
    assert page.post(acknowledge, headers=how(reader)).status_code == 403
    foreign = {**how(operator), "origin": "https://elsewhere.example"}
    assert page.post(acknowledge, headers=foreign).status_code == 403
    assert page.post(acknowledge, headers=how(operator)).status_code == 200


def test_browsers_get_a_page_about_the_key_and_programs_get_json(
    page: httpx.Client, door: Door
) -> None:
    caller = door.keys.add("predict")
    door.later()
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path in ("/", "/approvals", "/models/taxi/1"):
        for key, status, title in (
            ({}, 401, "An API key is needed"),
            (basic(caller), 403, "This key is not allowed"),
        ):
            reply = page.get(path, headers=browser | key)
            assert reply.status_code == status
            assert reply.headers["content-type"].startswith("text/html")
            assert f"<h1>{title}" in reply.text
            assert ("www-authenticate" in reply.headers) == (status == 401)
            assert "unsafe-inline" not in reply.headers["content-security-policy"]
            assert list(page.get(path, headers=key).json()) == ["error"]


def test_two_authorization_headers_are_refused(page: httpx.Client, door: Door) -> None:
    key = door.keys.add("read")
    door.later()
    for one, other in ((bearer, bearer), (basic, bearer), (bearer, basic), (basic, basic)):
        for second in (key, b"Bearer x"):
            pair = [*one(key).items(), *other(second).items()]
            assert page.get("/api/models", headers=pair).status_code == 401
    assert page.get("/api/models", headers=basic(key)).status_code == 200


def test_the_monitor_binds_other_addresses_only_with_an_explicit_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    result = CliRunner().invoke(driftline, ["monitor", "--host", "0.0.0.0"])
    assert isinstance(result.exception, SettingError)
    assert "DRIFTLINE_MONITOR_ALLOW_ANONYMOUS" in str(result.exception)


def test_the_page_supports_tls(tmp_path: Path) -> None:
    files = Certificates(tmp_path)
    tls = Tls.of(*files.server, str(files.authority), "X_")
    with serving(app(FakeStore, tmp_path), "127.0.0.1", 0, tls) as address:
        assert address.startswith("https://")
        known = httpx.get(f"{address}/health", verify=files.context(), trust_env=False)
        assert known.status_code == 200
        bare = files.context(shown=False)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{address}/health", verify=bare, trust_env=False)
