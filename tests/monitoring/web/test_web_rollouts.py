"""Rollouts on the model's page and in the API: arms, evidence, changes and scopes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventlog.settings import Home
from monitoring.presenter.rollout_waits import CurrentJudgement
from monitoring.web.app import app
from monitoring.web.rollouts import RolloutDesk
from monitoring.web.server import serving
from registry.history.lifecycle import LifecycleState
from registry.history.rows import RolloutVerdict, VerdictPolicy
from registry.history.store import History
from registry.rollouts import Rollouts
from registry.store import Registry
from telemetry.clock import now_us
from tests.access.key_store import Door
from tests.monitoring.web.conftest import FakeStore
from tests.monitoring.web.test_web_access import basic, bearer
from tests.tiny_model import register_tiny

ONE = "/api/models/tiny/rollouts/champion"


class Office:
    """A model whose version 2 is rolled out to half of the keys."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.registry = Registry(self.home)
        self.history = History(self.home.registry)
        for text in ("first", "second"):
            register_tiny(self.registry, folder / "files", description=text)
        self.registry.promote("tiny", "1", actor="key:eve")
        self.rollouts = Rollouts(self.history)
        self.rollouts.start(
            "tiny", "2", "champion", [0.5, 1.0], bake_s=60, actor="key:ann", why="try <i>",
            policy=VerdictPolicy(),
        )  # fmt: skip
        self.judged: dict[str, CurrentJudgement] = {}
        self.door = Door()

    @property
    def state(self) -> LifecycleState:
        return self.history.state("tiny")

    def key(self, name: str, *scopes: str) -> bytes:
        header = self.door.keys.add(*scopes, name=name)
        self.door.later()
        return header


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Office(tmp_path)


@pytest.fixture
def page(office: Office, tmp_path: Path) -> Iterator[httpx.Client]:
    made = app(
        FakeStore,
        tmp_path,
        catalogue=office.registry,
        authorizer=office.door.authorizer,
        rollout_desk=RolloutDesk(office.history, lambda: office.judged),
    )
    with (
        serving(made, "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        yield client


def test_a_rollout_is_shown_and_changed_in_a_browser(office: Office, page: httpx.Client) -> None:
    ann = {**basic(office.key("ann", "promote:tiny", "read")), "accept": "text/html"}
    id_ = office.state.rollouts["champion"].id
    counts = {"errors": [4, 100, 1, 90], "labels": [0, 10, 1, 12]}
    bounds = {"errors": [0.3, 0.01], "latency": [1.0, 0.01], "labels": [0.004, 0.01]}
    judged = CurrentJudgement("errors", counts, {"errors": 0.25}, bounds, time=now_us())
    office.judged = {id_: judged}
    for number in "12":
        shown = page.get(f"/models/tiny/{number}", headers=ann).text
        for text in (
            "Rollout of version 2 for champion",
            "try &lt;i&gt;",
            "4 of 100",
            "1 of 90",
            "25% of the evidence for a rollback",
            "4 of 100 keys prove a rate of at most 30.00%, but at most 1.00% is allowed",
            "Not enough data about slow answers: 0 of 0 keys",
            "The step bakes until",
            'value="pause"',
            'value="advance"',
        ):
            assert text in shown
        assert "Roll champion back" not in shown
        assert "Not enough data about wrong predictions" not in shown, "it shows enough"
    sentences = page.get(ONE, headers=ann).json()["panel"]["awaited"]
    assert len(sentences) == 4
    form = {"action": "pause", "expected": id_, "why": "look at it"}
    done = page.post(ONE, data=form, headers=ann)
    assert (done.status_code, done.headers["location"]) == (
        303,
        "/models/tiny/1#rollout-champion",
    )
    now = office.state.rollouts["champion"]
    assert (now.phase, now.why) == ("paused", "look at it")
    assert 'value="resume"' in page.get("/models/tiny/2", headers=ann).text
    assert page.post(ONE, data={**form, "action": "resume"}, headers=ann).status_code == 303
    promoted = page.post(ONE, data={**form, "action": "promote"}, headers=ann)
    assert promoted.headers["location"] == "/models/tiny/2#rollout-champion"
    assert office.state.aliases == {"champion": "2"}
    shown = page.get("/models/tiny/2", headers=ann).text
    assert "completed" in shown
    assert "<dt>Version 2 answers</dt><dd>100%</dd>" in shown
    assert "Roll champion back to version 1" in shown
    back = {"action": "rollback", "why": "worse", "number": "1"}
    stale = page.post(ONE, data={**back, "revision": "1"}, headers=ann)
    assert stale.status_code == 409
    seen = str(office.state.revision)
    assert page.post(ONE, data={**back, "revision": seen}, headers=ann).status_code == 303
    assert office.state.aliases == {"champion": "1"}
    assert len(office.state.barred) == 1, "as by the command"
    replaced = page.get("/models/tiny/2", headers=ann).text
    assert '<span class="badge idle">completed, then replaced by version 1</span>' in replaced


def test_verdicts_are_shown_with_their_counts(office: Office, page: httpx.Client) -> None:
    verdict = RolloutVerdict("roll back", 0, "errors", {"errors": [9, 50, 1, 50]})
    office.rollouts.abort(
        "tiny", "champion", why="more failed requests", actor="monitor", verdict=verdict
    )
    reader = basic(office.key("reader", "read"))
    shown = page.get("/models/tiny/2", headers=reader).text
    assert "rolled back: more keys with failed requests: 9 of 50 keys, before 1 of 50" in shown
    assert "<textarea" not in shown
    found = page.get(ONE, headers=reader).json()
    assert found["panel"]["rollout"]["phase"] == "aborted"
    assert found["panel"]["counts"][0]["bad"] == 9
    assert found["panel"]["verdicts"][0]["verdict"] == "roll back"


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (400, {"action": "delete", "why": "x"}),
        (400, {"action": "pause"}),
        (400, {"action": "pause", "why": "  "}),
        (400, {"action": "pause", "why": "x" * 2_001}),
        (400, {"action": "pause", "why": "a\0"}),
        (409, {"action": "resume", "why": "x", "expected": "another"}),
        (409, {"action": "rollback", "why": "x"}),
    ],
)
def test_impossible_changes_are_refused(
    office: Office, page: httpx.Client, status: int, change: dict[str, Any]
) -> None:
    before = office.state.revision
    ann = bearer(office.key("ann", "promote"))
    refused = page.post(ONE, json=change, headers=ann)
    assert (refused.status_code, "Traceback" in refused.text) == (status, False)
    missing = page.post(ONE.replace("champion", "other"), json=change, headers=ann)
    assert missing.status_code in {400, 404, 409}
    assert office.state.revision == before


def test_only_the_scope_promote_of_the_model_changes_a_rollout(
    office: Office, page: httpx.Client
) -> None:
    change = {"action": "pause", "why": "x"}
    other = bearer(office.key("eve", "promote:other", "operate", "approve"))
    assert page.post(ONE, json=change, headers=other).status_code == 403
    assert page.post(ONE, json=change).status_code == 401
    ann = bearer(office.key("ann", "promote:tiny"))
    foreign = {**ann, "origin": "https://elsewhere.example"}
    assert page.post(ONE, json=change, headers=foreign).status_code == 403
    done = page.post(ONE, json=change, headers=ann)
    assert done.json() == {"revision": office.state.revision, "actor": "key:ann"}


def test_without_keys_nobody_changes_a_rollout(office: Office, tmp_path: Path) -> None:
    made = app(FakeStore, tmp_path, rollout_desk=RolloutDesk(office.history))
    with (
        serving(made, "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        refused = client.post(ONE, json={"action": "pause", "why": "x"})
    assert (refused.status_code, "expected an API key" in refused.text) == (403, True)
