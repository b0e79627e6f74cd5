"""Scheduled retraining requests in a real database: crashes, two monitors, registry outages."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from monitoring.alarms.retrain_schedule import scheduled_id
from monitoring.retrain.scheduled_requests import ScheduledRequests
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from monitoring.storage.store import Store
from registry.errors import RegistryUnavailable
from registry.history.store import History
from registry.schedules import Schedules

HOUR = 3_600_000_000
START = 472_222 * HOUR  # a full hour
DUE = START + HOUR


class Clock:
    """A wall clock in microseconds that tests set."""

    def __init__(self) -> None:
        self.now = START + 60_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def history(tmp_path: Path, clock: Clock) -> History:
    found = History(tmp_path / "registry.db")
    found.register("flights", "1", time=1, actor="ann", digest="d1")
    Schedules(found, lambda: clock.now * 1_000).set(
        "flights", "0 * * * *", "UTC", "latest", actor="ann"
    )
    return found


Begin = Callable[..., ScheduledRequests]


@pytest.fixture
def begin(tmp_path: Path, history: History, clock: Clock) -> Iterator[Begin]:
    """Return a function that starts `ScheduledRequests` on its own connection."""
    opened: list[Database] = []

    def make(
        name: str = "monitor.db", *, crash: bool = False, delivers: bool = True
    ) -> ScheduledRequests:
        database = Database(tmp_path / name)
        opened.append(database)
        journal = Journal(database)
        if crash:

            def killed(*_: object) -> None:
                raise MemoryError

            journal.add_delivery = killed  # type: ignore[method-assign]
        return ScheduledRequests(
            journal,
            history,
            page="http://page",
            answer_within=48 * HOUR,
            delivers=delivers,
            positions=dict,
            clock=clock,
            elapsed=iter(range(0, 1_000_000, 10)).__next__,
        )

    yield make
    for database in opened:
        database.close()


def requests(tmp_path: Path, name: str = "monitor.db") -> list[str]:
    store = Store(tmp_path / name)
    ids = [delivery.webhook_id for delivery in store.deliveries()]
    store.close()
    return ids


def test_instant_is_requested_once_in_spite_of_crashes(
    begin: Begin, clock: Clock, tmp_path: Path
) -> None:
    first = begin(crash=True)
    first.step()
    clock.now = DUE
    with pytest.raises(MemoryError):
        first.step()  # killed between the progress and the request
    assert requests(tmp_path) == []
    second = begin()
    second.step()
    second.step()
    begin().step()
    assert requests(tmp_path) == [scheduled_id("flights", DUE)]
    begin("other.db").step()  # another monitor, on its own database
    assert requests(tmp_path, "other.db") == requests(tmp_path), "one id: the receiver acts once"


def test_scheduled_request_has_no_alarm_and_records_its_decision(
    begin: Begin, clock: Clock, tmp_path: Path
) -> None:
    clock.now = DUE + 5
    begin().step()
    store = Store(tmp_path / "monitor.db")
    (delivery,) = store.deliveries()
    (progress,) = store.schedules().values()
    store.close()
    data = msgspec.json.decode(delivery.body)["data"]
    assert (data["model"], data["version"], data["rule"]) == ("flights", "1", "schedule")
    assert data["due"] == DUE
    assert "alarm_id" not in data
    assert "window" not in data
    assert data["reason"].startswith("Scheduled for ")
    assert data["register_hint"].endswith(f"--answers {delivery.webhook_id}")
    assert [decision.state for decision in progress.decisions] == ["requested"]


def test_open_request_skips_the_next_instant_until_answered_or_expired(
    begin: Begin, clock: Clock, history: History, tmp_path: Path
) -> None:
    scheduler = begin()
    clock.now = DUE
    scheduler.step()
    clock.now = DUE + HOUR
    scheduler.step()
    assert len(requests(tmp_path)) == 1
    history.register(
        "flights", "2", time=clock.now, actor="ci", digest="d2", answers=requests(tmp_path)[0]
    )
    clock.now = DUE + 2 * HOUR
    scheduler.step()
    assert requests(tmp_path)[0] == scheduled_id("flights", DUE + 2 * HOUR)
    store = Store(tmp_path / "monitor.db")
    store.delivered(scheduled_id("flights", DUE + 2 * HOUR))
    assert [decision.state for decision in store.schedules()["flights"].decisions] == [
        "requested", "skipped", "requested",
    ]  # fmt: skip
    store.close()
    clock.now = DUE + 51 * HOUR  # no candidate was registered within two days
    scheduler.step()
    assert requests(tmp_path)[0] == scheduled_id("flights", DUE + 51 * HOUR)


def test_undelivered_request_is_superseded_by_the_next(
    begin: Begin, clock: Clock, tmp_path: Path
) -> None:
    scheduler = begin(delivers=False)
    for hour in range(2):
        clock.now = DUE + hour * HOUR
        scheduler.step()
    store = Store(tmp_path / "monitor.db")
    assert [(one.webhook_id, one.state) for one in store.deliveries()] == [
        (scheduled_id("flights", DUE + HOUR), "pending"),
        (scheduled_id("flights", DUE), "superseded"),
    ]
    store.close()


def test_removed_schedule_requests_nothing_and_a_new_one_no_past_instants(
    begin: Begin, clock: Clock, history: History, tmp_path: Path
) -> None:
    scheduler = begin()
    scheduler.step()
    schedules = Schedules(history, lambda: clock.now * 1_000)
    schedules.remove("flights", actor="ann")
    clock.now = DUE + 5 * HOUR
    scheduler.step()
    assert requests(tmp_path) == []
    schedules.set("flights", "0 * * * *", "UTC", "latest", actor="ann")
    scheduler.step()
    assert requests(tmp_path) == []
    clock.now += 2 * HOUR
    scheduler.step()
    scheduler.step()
    assert len(requests(tmp_path)) == 1


def test_schedule_waits_while_the_registry_is_unavailable(
    begin: Begin,
    clock: Clock,
    history: History,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheduler = begin()

    def down() -> int:
        raise RegistryUnavailable("no server")

    clock.now = DUE
    with monkeypatch.context() as patch:
        patch.setattr(history, "revision", down)
        scheduler.step()
        scheduler.step()
    assert requests(tmp_path) == []
    scheduler.step()
    assert requests(tmp_path) == [scheduled_id("flights", DUE)]
