"""Policy changes while a monitor runs: when they apply, and which state continues."""

import random
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from eventlog.log import Positions, Reader
from monitoring.errors import DatabaseUnavailable
from monitoring.storage.database import DatabaseAddress
from monitoring.storage.store import Store
from monitoring.windows.policy_source import FixedPolicy, RegistryPolicies
from monitoring.windows.retention import Retention
from registry.errors import RegistryUnavailable
from registry.manifest import Trailing
from registry.policies import digest
from tests.depth import by_depth
from tests.monitoring.log_in_memory import (
    HOUR,
    MANIFEST,
    STORY,
    T0,
    VERSION,
    FakeReader,
    FakeScorer,
    History,
    Log,
    Monitor,
    Story,
    eight_hours,
    everything,
    like,
    ticking,
)

pytestmark = pytest.mark.untraced

USUAL = MANIFEST.monitoring


def policy_digests(where: DatabaseAddress) -> list[str]:
    """Return the policy digest of each window, oldest window first."""
    return [result.policy for result in Store(where).results("tiny", "1")]


class Live:
    """A reader that makes each policy change when the log has reached its time."""

    def __init__(self, reader: Reader, story: Story) -> None:
        self._reader = reader
        self._story = story
        self.patience = reader.patience
        self.drained = False

    def poll(self, limit: int) -> Any:
        records = self._reader.poll(limit)
        self.drained = self._reader.drained
        self._story.hear(records)
        return records

    def gaps(self) -> Any:
        return self._reader.gaps()

    def close(self) -> None:
        self._reader.close()


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[object, ...]]]:
    """Return the tables if every change is known from the beginning."""
    path = tmp_path_factory.mktemp("known") / "monitor.db"
    Monitor(path, eight_hours().records, policies=ticking(Story().known())).drain()
    return everything(path)


def test_each_window_uses_the_policy_of_its_time(where: DatabaseAddress) -> None:
    Monitor(where, eight_hours().records, policies=ticking(Story().known())).drain()
    first, second, third, _ = [digest(policy) for policy in [USUAL, *(p for _, p in STORY)]]
    assert policy_digests(where)[1:7] == [first, first, second, second, third, third]
    results = {r.window.start: r for r in Store(where).results("tiny", "1")}
    assert [results[T0 + hour * HOUR].sampled for hour in (1, 2, 3, 4)] == [40, 7, 7, 40]


@pytest.mark.parametrize("seed", range(by_depth(1, 3)))
def test_live_monitor_and_replay_agree_on_policy_changes(
    seed: int, where: DatabaseAddress, known: dict[str, list[tuple[object, ...]]]
) -> None:
    chance, history = random.Random(seed), Story()
    records = eight_hours().records

    def follow(positions: Positions) -> Reader:
        return Live(FakeReader(records, positions, chance), history)

    monitor = Monitor(where, records, follow=follow, policies=ticking(history))
    while monitor.consumer.step(chance.randrange(1, 40)) or not monitor.consumer.drained:
        pass
    assert len(history.changes) == len(STORY)
    assert everything(where) == known


def test_monitor_killed_around_policy_changes_stores_the_same(
    where: DatabaseAddress, known: dict[str, list[tuple[object, ...]]]
) -> None:
    chance, history = random.Random(11), Story()
    records = eight_hours().records

    def follow(positions: Positions) -> Reader:
        return Live(FakeReader(records, positions, chance), history)

    for _ in range(8):
        monitor = Monitor(where, records, follow=follow, policies=ticking(history))
        assert monitor.dies(chance.randrange(40, 160), 20)
    assert len(history.changes) > 1
    Monitor(where, records, follow=follow, policies=ticking(history)).drain()
    assert everything(where) == known


def test_alarm_runs_continue_across_a_policy_change(where: DatabaseAddress) -> None:
    """Drift starts under the first policy; the alarm fires under the second."""
    history = History()
    history.change(T0 + 3 * HOUR + 1, like(alarms={"consecutive": 2, "critical": ("drift",)}))
    log = Log()
    for n in range(8 * 20):
        log.predict(T0 + n * HOUR // 20, f"p{n}")
    Monitor(where, log.records, policies=ticking(history)).drain()
    (alarm,) = [alarm for alarm in Store(where).alarms() if alarm.rule == "drift"]
    assert alarm.since.start == T0 + 3 * HOUR
    assert alarm.severity == "critical"
    assert alarm.policy == digest(history.changes[0].policy)


def test_labels_are_awaited_by_the_policy_of_their_window(
    where: DatabaseAddress,
) -> None:
    """Later windows await no labels, and their rows are deleted at once."""
    history = History()
    history.change(T0 + HOUR + 1, like(window={"label_wait": 0}))
    log = Log()
    for hour in range(5):
        log.predict(T0 + hour * HOUR, f"hour {hour}")
    log.pass_time(T0 + 4 * HOUR)
    log.tell("hour 1", 1)  # its window ended at most three hours ago
    log.tell("hour 2", 1)  # its window has expired
    log.pass_time(T0 + 9 * HOUR)
    kept = Retention(late_days=0, samples_days=0)
    Monitor(where, log.records, policies=ticking(history), retention=kept).drain()
    found = {result.window.start: result for result in Store(where).results("tiny", "1")}
    assert (found[T0 + HOUR].labelled, found[T0 + HOUR].expired) == (1, 0)
    assert (found[T0 + 2 * HOUR].labelled, found[T0 + 2 * HOUR].expired) == (0, 1)


def test_restored_trailing_reference_starts_again(
    where: DatabaseAddress,
) -> None:
    trails = replace(USUAL, trailing=Trailing(windows=2, rows=100))
    history, scorer = History(), FakeScorer()
    history.change(T0 + 2 * HOUR + 1, USUAL)
    history.change(T0 + 4 * HOUR + 1, trails)
    log = Log()
    for n in range(9 * 12):
        log.predict(T0 + n * HOUR // 12, f"p{n}")
    log.pass_time(T0 + 9 * HOUR)
    find = replace(VERSION, manifest=replace(MANIFEST, monitoring=trails))
    policies = ticking(history)
    Monitor(where, log.records, scorer=scorer, policies=policies, find=lambda *_: find).drain()
    trailing = [bool(job.reference) for job in scorer.jobs if job.drift]
    assert trailing[:8] == [False, False, True, False, False, False, False, True]


def test_events_stamped_ahead_of_a_policy_change_are_logged_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history, log = History(), Log()
    for n in range(40):
        log.predict(T0 + n * HOUR // 10, f"p{n}")
    monitor = Monitor(tmp_path / "monitor.db", log.records, policies=ticking(history))
    monitor.drain()
    # The change applies from hour 1, although windows up to hour 4 have begun.
    history.change(T0 + HOUR, like(window={"length": 1800}))
    for n in range(30, 80):
        log.predict(T0 + n * HOUR // 10, f"q{n}")
    monitor.drain()
    monitor.consumer.close_all()
    monitor.drain()
    assert "windows had begun before the policy was known" in caplog.text
    store = Store(tmp_path / "monitor.db")
    rows = sum(result.rows for result in store.results("tiny", "1"))
    assert rows + store.totals().get("late_rows", 0) == 90


def test_idle_monitor_applies_a_policy_change(tmp_path: Path) -> None:
    history = History()
    log = Log()
    log.predict(T0, "before")
    monitor = Monitor(tmp_path / "monitor.db", log.records, policies=ticking(history))
    monitor.drain()
    other = like(alarms={"min_rows": 1})
    history.change(T0 + 1, other)
    monitor.drain()
    log.predict(T0 + HOUR, "hour 1")
    log.pass_time(T0 + 3 * HOUR)
    monitor.drain()
    assert policy_digests(tmp_path / "monitor.db")[1] == digest(other)


def test_registry_is_polled_once_a_second() -> None:
    history, now = History(), [0.0]
    following = RegistryPolicies(history, lambda: now[0])
    history.change(5, USUAL)
    now[0] = 0.9
    assert following.changed() == set()
    now[0] = 1.0
    assert following.changed() == {"tiny"}
    now[0] = 2.0
    assert following.changed() == set()


def test_unreadable_registry_is_an_unavailable_database() -> None:
    class Lost(History):
        def changed(self, since: int) -> set[str]:
            raise RegistryUnavailable("registry: disk I/O error")

    history = Lost()
    following = ticking(history)
    history.change(5, USUAL)
    with pytest.raises(DatabaseUnavailable, match="registry: disk I/O error"):
        following.changed()


def test_fixed_policy_replaces_every_policy_period() -> None:
    other = like(alarms={"consecutive": 99})
    (period,) = FixedPolicy(other).timeline(VERSION).periods
    assert (period.start, period.policy) == (0, other)
