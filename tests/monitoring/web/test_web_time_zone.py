"""A reader chooses the time zone in the address; a cookie stores it."""

import re
from zoneinfo import ZoneInfo

import httpx
import pytest

from monitoring.presenter import formats
from monitoring.presenter.links import window_path
from tests.monitoring.web.conftest import week

WINDOW = window_path("flights", "1", week(33).start)


def test_dates_are_shown_in_the_chosen_zone(client: httpx.Client) -> None:
    assert "26 Aug – 1 Sep 2013" in client.get(WINDOW).text
    berlin = client.get(WINDOW, params={"tz": "Europe/Berlin"})
    assert "26 Aug 2013, 02:00 – 2 Sep 2013, 02:00" in berlin.text
    assert "Times are event time, in Europe/Berlin." in berlin.text
    assert "15 Jul 2013, 02:00 CEST" in client.get("/").text, "the cookie remembers it"
    assert "in UTC." in client.get("/", params={"tz": "UTC"}).text
    assert "15 Jul 2013, 00:00 UTC" in client.get("/").text


def test_programs_always_get_utc(client: httpx.Client) -> None:
    before = client.get("/api/overview").json()
    client.get("/", params={"tz": "Asia/Tokyo"})
    assert client.get("/api/overview").json() == before


def test_choosing_a_time_zone_keeps_the_filters(client: httpx.Client) -> None:
    page = client.get("/", params={"q": '"><b>', "verdict": "ok", "tz": "Asia/Tokyo"}).text
    form = re.search(r'<form class="zone".*?</form>', page, re.DOTALL)
    assert form is not None
    assert '<input type="hidden" name="verdict" value="ok">' in form[0]
    assert 'value="&#34;&gt;&lt;b&gt;"' in form[0]
    assert form[0].count('name="tz"') == 1


@pytest.mark.parametrize(
    "name", ["Berlin", "../../etc/passwd", "/etc/passwd", "UTC\r\nx: y", "a" * 99]
)
def test_an_unknown_time_zone_is_refused_or_ignored(client: httpx.Client, name: str) -> None:
    refused = client.get("/", params={"tz": name})
    assert (refused.status_code, "IANA" in refused.text) == (400, True)
    similar = client.get("/?tz=Europe/Berln")
    assert (similar.status_code, "did you mean Europe/Berlin?" in similar.text) == (400, True)
    assert "set-cookie" not in refused.headers
    cookie = {"cookie": "driftline_tz=" + name.replace("\r\n", "")}
    assert "in UTC." in client.get("/", headers=cookie).text


def test_the_ends_of_the_calendar_have_a_date_in_every_zone() -> None:
    for zone in ("Pacific/Kiritimati", "America/Los_Angeles"):
        before = formats.ZONE.set(ZoneInfo(zone))
        assert {formats.day(-(2**62)), formats.day(2**62)} <= {
            "1 Jan 1",
            "31 Dec 9999",
            "30 Dec 9999",
        }
        formats.ZONE.reset(before)
