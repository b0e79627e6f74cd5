"""Current and past monitoring policies of a version on page and API."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventlog.settings import Home
from monitoring.results import Result, Window
from monitoring.web.app import app
from monitoring.web.policy_view import period_of, period_views
from monitoring.web.server import serving
from registry.policies import PolicyChange
from registry.store import Registry
from tests.tiny_model import register_tiny

DAY = 86_400_000_000
MADE = 15_000 * DAY + 7  # 26 January 2011


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Had its policy changed once."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    registry = Registry(Home(tmp_path / "home"), lambda: MADE * 1_000)
    register_tiny(registry, tmp_path / "files")
    change = PolicyChange({"alarms": {"min_rows": 7}}, "nights are <quiet>")
    registry.change_policy("tiny", "1", change, actor="ada")
    return registry


@pytest.fixture
def client(registry: Registry, store: Any, reports: Path) -> Iterator[httpx.Client]:
    """Asks a page that knows one window before the change and one after it."""
    digests = [
        period.policy for period in period_views(registry.policies(registry.version("tiny", "1")))
    ]
    store.all_results = [
        Result(model="tiny", version="1", window=Window(n * DAY, (n + 1) * DAY), policy=policy)
        for n, policy in [(14_999, digests[1]), (15_001, digests[0])]
    ]
    with (
        serving(app(lambda: store, reports, catalogue=registry), "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        yield client


def test_policies_are_listed_newest_first_with_actor_time_and_reason(registry: Registry) -> None:
    now, before = period_views(registry.policies(registry.version("tiny", "1")))
    assert (now.start, now.end, now.actor, now.made) == (15_001 * DAY, None, "ada", MADE)
    assert (now.why, now.revision) == ("nights are <quiet>", 2)
    assert [(c.field, c.before, c.after) for c in now.changes] == [("alarms.min_rows", 500, 7)]
    assert (before.start, before.end, before.revision) == (0, 15_001 * DAY, 0)
    assert period_of([now, before], 15_001 * DAY) == now
    assert period_of([now, before], 15_001 * DAY - 1) == before


def test_a_versions_page_shows_its_policy_with_actor_time_and_reason(
    client: httpx.Client,
) -> None:
    page = client.get("/models/tiny/1").text
    shown = " ".join(re.sub("<[^>]*>", " ", page).split())
    assert 'id="policy"' in page
    assert "27 Jan 2011, 00:00 UTC" in shown
    assert "alarms.min_rows 500 → 7" in shown
    assert "(registry revision 2): nights are &lt;quiet&gt;" in shown
    assert "ada, 26 Jan 2011, 00:00 UTC" in shown
    assert "the beginning" in shown


def test_a_windows_page_names_its_policy(client: httpx.Client) -> None:
    before = client.get(f"/models/tiny/1/windows/{14_999 * DAY}").text
    after = client.get(f"/models/tiny/1/windows/{15_001 * DAY}").text
    named = re.compile(r'id="policy">Policy <code>(\w{12})<')
    assert len({*named.findall(before), *named.findall(after)}) == 2
    assert "changed by ada, 26 Jan 2011, 00:00 UTC: nights are &lt;quiet&gt;" in after
    assert "nights are" not in before


def test_the_api_returns_every_policy_period_with_its_complete_policy(client: httpx.Client) -> None:
    now, before = client.get("/api/models/tiny/versions/1/policies").json()
    assert now["changes"] == [{"field": "alarms.min_rows", "before": 500, "after": 7}]
    assert (now["monitoring"]["alarms"]["min_rows"], now["actor"]) == (7, "ada")
    results = client.get("/api/models/tiny/versions/1/results").json()
    assert [result["policy"] for result in results] == [before["policy"], now["policy"]]
    assert client.get("/api/models/none/versions/1/policies").json() == []
