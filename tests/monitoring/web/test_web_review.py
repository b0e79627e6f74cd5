"""The review queue in a browser and by API: leases, decisions, scopes and log."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from eventlog.events import FeedbackEvent
from eventlog.log import Position
from eventlog.segments import SegmentReader
from eventlog.settings import Home, LogSettings
from monitoring.review_desk.decision_log import LoggedDecisions
from monitoring.review_desk.leases import LEASE, ReviewDesk
from monitoring.web.app import app
from monitoring.web.server import serving
from registry.errors import UnknownModel
from registry.manifest import Version
from tests.access.key_store import Door
from tests.monitoring.log_in_memory import HOUR, T0, VERSION, Log, Monitor
from tests.monitoring.web.conftest import FakeStore
from tests.monitoring.web.test_web_access import basic, bearer

ROWS = "/v1/review?model=tiny"


class Catalogue:
    """One version."""

    def versions(self, model: str) -> list[Version]:
        if model != "tiny":
            raise UnknownModel(f"no model {model!r}; models: tiny")
        return [VERSION]


class Office:
    """A queue of one model, its desk and a page."""

    def __init__(self, folder: Path) -> None:
        log = Log()
        for n in range(60):
            log.predict(T0 + n, f"a{n}")
        log.pass_time(T0 + 2 * HOUR)
        self.where, self.home, self.now = folder / "m.db", Home(folder / "home"), T0
        Monitor(self.where, log.records).drain()
        self.decisions = LoggedDecisions(self.home, LogSettings())
        self.door = Door()

    def key(self, name: str, *scopes: str) -> bytes:
        header = self.door.keys.add(*scopes, name=name)
        self.door.later()
        return header

    def logged(self) -> list[FeedbackEvent]:
        reader = SegmentReader(self.home.log, dict[str, Position]())
        try:
            found = [record.event for record in reader.poll(1_000)]
        finally:
            reader.close()
        return [event for event in found if isinstance(event, FeedbackEvent)]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.fixture
def page(office: Office, tmp_path: Path) -> Iterator[httpx.Client]:
    made = app(
        FakeStore,
        tmp_path,
        catalogue=Catalogue(),  # type: ignore[arg-type]
        authorizer=office.door.authorizer,
        open_reviews=lambda: ReviewDesk(office.where, office.decisions, lambda: office.now),
    )
    with (
        serving(made, "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        yield client
    office.decisions.close()


def test_rows_are_leased_to_one_person_at_a_time(office: Office, page: httpx.Client) -> None:
    ann, ben = bearer(office.key("ann", "review:tiny")), bearer(office.key("ben", "review"))
    mine = page.get(f"{ROWS}&limit=3", headers=ann).json()["rows"]
    theirs = page.get(f"{ROWS}&limit=500", headers=ben).json()["rows"]
    assert len(mine) == 3
    ids = [row["prediction_id"] for row in mine]
    assert not {*ids} & {row["prediction_id"] for row in theirs}
    again = page.get(f"{ROWS}&limit=3", headers=ann).json()
    assert [row["prediction_id"] for row in again["rows"]] == ids
    assert again["waiting"] == len(mine) + len(theirs)
    row = mine[0]
    assert row["features"] == {"x": 0.5}
    assert (row["predicted"], row["probabilities"]) == (1, {"0": 0.25, "1": 0.75})
    held = {"prediction_id": ids[0], "action": "accept"}
    refused = page.post(ROWS, json=held, headers=ben)
    assert (refused.status_code, "key:ann has leased this row" in refused.text) == (409, True)
    office.now += LEASE + 1
    taken = page.get(f"{ROWS}&limit=500", headers=ben).json()["rows"]
    assert {*ids} <= {one["prediction_id"] for one in taken}


def test_decisions_are_logged_with_actor_and_reason(office: Office, page: httpx.Client) -> None:
    ann = bearer(office.key("ann", "review:tiny"))
    rows = page.get(f"{ROWS}&limit=4", headers=ann).json()["rows"]
    ids = [row["prediction_id"] for row in rows]
    decisions = [
        {"prediction_id": ids[0], "action": "accept"},
        {"prediction_id": ids[1], "action": "correct", "label": "0", "why": "seen the file"},
        {"prediction_id": ids[2], "action": "skip"},
    ]
    done = page.post(ROWS, json=decisions, headers=ann)
    assert done.json() == {"recorded": 3, "actor": "key:ann"}
    twice = page.post(ROWS, json=decisions[0], headers=ann)
    assert (twice.status_code, "key:ann has decided" in twice.text) == (409, True)
    found = [(e.prediction_id, e.review, e.label, e.actor, e.why) for e in office.logged()]
    assert found == [
        (ids[0], "accept", 1, "key:ann", ""),
        (ids[1], "correct", "0", "key:ann", "seen the file"),
    ]
    assert [event.inclusion for event in office.logged()] == [r["inclusion"] for r in rows[:2]]
    left = page.get(f"{ROWS}&limit=500", headers=ann).json()["rows"]
    assert not {*ids[:3]} & {row["prediction_id"] for row in left}
    undo = {"action": "undo"}
    for _ in range(3):  # the row that was skipped, and both decisions
        assert page.post(ROWS, json=undo, headers=ann).status_code == 200
    assert [event.review for event in office.logged()][2:] == ["undo", "undo"]
    back = page.get(f"{ROWS}&limit=500", headers=ann).json()["rows"]
    assert {*ids} <= {row["prediction_id"] for row in back}
    assert page.post(ROWS, json=undo, headers=ann).status_code == 404


def test_the_page_works_with_plain_forms(office: Office, page: httpx.Client) -> None:
    ann = {**basic(office.key("ann", "review:tiny", "read")), "accept": "text/html"}
    assert 'href="/review/tiny"' in page.get("/review", headers=ann).text
    shown = page.get("/review/tiny", headers=ann)
    assert "script-src 'self'" in shown.headers["content-security-policy"]
    assert "data-live" not in shown.text
    rows = page.get(f"{ROWS}&limit=1", headers=ann).json()["rows"]
    about = {"prediction_id": rows[0]["prediction_id"], "row": "0"}
    assert about["prediction_id"] in shown.text
    done = page.post("/review/tiny", data={**about, "place": "0", "why": "<b>"}, headers=ann)
    assert (done.status_code, done.headers["location"]) == (303, "/review/tiny")
    (event,) = office.logged()
    assert (event.review, event.label, event.why) == ("correct", 0, "<b>")
    assert about["prediction_id"] not in page.get("/review/tiny", headers=ann).text
    undone = page.post("/review/tiny", data={"action": "undo"}, headers=ann)
    assert undone.status_code == 303
    assert about["prediction_id"] in page.get("/review/tiny", headers=ann).text
    foreign = {**ann, "origin": "https://elsewhere.example"}
    assert page.post("/review/tiny", data={"action": "undo"}, headers=foreign).status_code == 403


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"{"),
        (400, b'{"prediction_id": "a", "action": "delete"}'),
        (404, b'{"prediction_id": "no such", "action": "accept"}'),
        (404, b'{"prediction_id": "a\\u0000", "action": "accept"}'),
        (400, b'[{"prediction_id": "$ID", "action": "accept", "why": "\\u0000"}]'),
        (400, b'{"action": "accept"}'),
        (400, b'[{"prediction_id": "$ID", "action": "correct"}]'),
        (400, b'[{"prediction_id": "$ID", "action": "correct", "label": "seven"}]'),
        (413, b'{"why": "' + b"x" * (1 << 20) + b'"}'),
    ],
)
def test_bad_decisions_are_refused_and_logged_nowhere(
    office: Office, page: httpx.Client, status: int, body: bytes
) -> None:
    ann = bearer(office.key("ann", "review:tiny"))
    rows = page.get(f"{ROWS}&limit=1", headers=ann).json()["rows"]
    sent = body.replace(b"$ID", rows[0]["prediction_id"].encode())
    refused = page.post(ROWS, content=sent, headers=ann)
    assert (refused.status_code, "Traceback" in refused.text) == (status, False)
    assert not office.home.log.exists()


def test_only_reviewers_of_the_model_may_see_or_label_rows(
    office: Office, page: httpx.Client
) -> None:
    other = bearer(office.key("eve", "review:other", "operate", "predict"))
    assert page.get(ROWS, headers=other).status_code == 403
    assert page.get("/review/tiny", headers=other).status_code == 403
    assert page.post("/review/tiny", headers=other).status_code == 403
    assert page.post(ROWS, json=[], headers=other).status_code == 403
    assert page.get("/v1/review", headers=other).status_code == 400
    assert page.get(f"{ROWS}&limit=0", headers=bearer(office.key("x", "review"))).status_code == 400


def test_a_model_that_is_not_registered_has_no_queue(office: Office, page: httpx.Client) -> None:
    ann = bearer(office.key("ann", "review"))
    missing = page.get("/v1/review", params={"model": "timy"}, headers=ann)
    assert (missing.status_code, missing.json()) == (
        404,
        {"error": "no model 'timy'; models: tiny"},
    )
