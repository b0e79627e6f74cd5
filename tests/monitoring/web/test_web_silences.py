"""Alarms are silenced on the page, with actor, reason and end."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from monitoring.web.app import app
from monitoring.web.server import serving
from tests.access.key_store import Door
from tests.monitoring.web.conftest import a_busy_store
from tests.monitoring.web.test_web_access import basic, bearer


def test_an_alarm_is_silenced_and_the_silence_ended_in_a_browser(tmp_path: Path) -> None:
    store, door = a_busy_store(), Door()
    alarm = next(one for one in store.all_alarms if one.state != "resolved")
    header = door.keys.add("operate", name="ann")
    reader = door.keys.add("read", name="ben")
    door.later()
    address = f"/api/alarms/{alarm.alarm_id}/silence"
    shown_at = f"/models/{alarm.model}/{alarm.version}"
    with (
        serving(app(lambda: store, tmp_path, authorizer=door.authorizer), "127.0.0.1", 0) as base,
        httpx.Client(base_url=base, trust_env=False) as client,
    ):
        browser = {**basic(header), "accept": "text/html"}
        assert f'action="{address}"' in client.get(shown_at, headers=browser).text
        form = {"for": "24h", "reason": "a <b> deploy"}
        assert client.post(address, data=form, headers=bearer(reader)).status_code == 403
        done = client.post(address, data=form, headers=browser)
        assert (done.status_code, done.headers["location"]) == (303, shown_at)
        (held,) = client.get("/api/silences", headers=browser).json()
        assert (held["rule"], held["version"]) == (alarm.rule, alarm.version)
        assert (held["actor"], held["until"] - held["created"]) == ("key:ann", 86_400_000_000)
        assert "a &lt;b&gt; deploy" in client.get(shown_at, headers=browser).text
        end = f"/api/silences/{held['silence_id']}/end"
        assert client.post(end, headers=browser).status_code == 303
        assert client.post(end, headers=browser).status_code == 404
        assert client.get("/api/silences", headers=browser).json() == []
        for wrong in _WRONG:
            refused = client.post(address, json=wrong, headers=bearer(header))
            assert (refused.status_code, "Traceback" in refused.text) == (400, False)
        missing = client.post("/api/alarms/x/silence", json=form, headers=bearer(header))
        assert missing.status_code == 404
    assert len(store.held) == 1


_WRONG: list[dict[str, Any]] = [
    {},
    {"for": "24h"},
    {"for": "24h", "reason": " "},
    {"for": "24h", "reason": "a\0"},
    {"for": "forever", "reason": "x"},
    {"for": "400d", "reason": "x"},
    {"for": 24, "reason": "x"},
]


@pytest.mark.parametrize("state", ["firing", "acknowledged"])
def test_an_open_alarm_can_be_resolved_at_once(tmp_path: Path, state: str) -> None:
    store = a_busy_store()
    alarms = [one for one in store.all_alarms if one.state == state]
    with (
        serving(app(lambda: store, tmp_path), "127.0.0.1", 0) as base,
        httpx.Client(base_url=base, trust_env=False) as client,
    ):
        for alarm in alarms:
            shown = client.get(f"/models/{alarm.model}/{alarm.version}").text
            assert f'id="resolve-{alarm.alarm_id}"' in shown
