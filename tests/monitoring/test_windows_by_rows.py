"""Windows that end once they have enough rows, with the real consumer and database."""

import random
from itertools import chain, pairwise, zip_longest

import pytest
from msgspec.structs import replace

from eventlog.events import FeedbackEvent
from eventlog.log import Record
from monitoring.results import Result
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.store import Store
from monitoring.windows.row_sample import row_hash
from registry.manifest import Version, WindowPolicy
from tests.monitoring.log_in_memory import (
    HOUR,
    T0,
    VERSION,
    Log,
    Monitor,
    eight_hours,
    everything,
)

pytestmark = pytest.mark.untraced

STEP = 300
POLICY = WindowPolicy(length=None, rows=30, step=STEP, grace=1200, label_wait=3 * 3600, max_rows=20)
DAILY = replace(POLICY, length=7200)


def _find(policy: WindowPolicy) -> Version:
    monitoring = replace(VERSION.manifest.monitoring, window=policy)
    return replace(VERSION, manifest=replace(VERSION.manifest, monitoring=monitoring))


def _monitored(
    where: DatabaseAddress, records: list[Record], policy: WindowPolicy, limit: int = 1000
) -> Store:
    Monitor(where, records, find=lambda *_: _find(policy)).drain(limit)
    return Store(where)


def _results(store: Store) -> list[Result]:
    return store.results("tiny", "1")


def test_window_by_rows_ends_with_the_pane_that_completes_it(where: DatabaseAddress) -> None:
    store = _monitored(where, eight_hours().records, POLICY)
    results = _results(store)
    assert len(results) > 8
    for before, after in pairwise(results):
        assert before.window.end == after.window.start
        assert 30 <= before.rows < 30 + 20, "five minutes have fewer than 20 rows"
        assert before.window.end % (STEP * 1_000_000) == 0
    (filling,) = store.live("tiny", "1")
    assert filling.window.start == results[-1].window.end
    assert sum(result.rows for result in results) + filling.rows == 400


def test_window_by_rows_and_length_ends_at_whichever_comes_first(where: DatabaseAddress) -> None:
    log = Log()
    for n in range(40):
        log.predict(T0 + n, f"a{n}")
    log.predict(T0 + HOUR, "few")
    log.predict(T0 + 5 * HOUR, "much later")
    log.pass_time(T0 + 7 * HOUR)
    results = _results(_monitored(where, log.records, DAILY))
    assert [result.rows for result in results] == [40, 1, 0, 1]
    first, second, empty, _ = (result.window for result in results)
    assert (first.end - first.start, second.end) == (STEP * 1_000_000, first.start + 2 * HOUR)
    assert (empty.start, empty.end) == (second.end, second.end + 2 * HOUR)


def test_sample_has_the_smallest_hashes_of_all_panes(
    where: DatabaseAddress,
) -> None:
    records = eight_hours().records
    store = _monitored(where, records, POLICY)
    window = _results(store)[2].window
    hashes = sorted(
        row_hash(record.event.event_id, 0)
        for record in records
        if not isinstance(record.event, FeedbackEvent)
        and window.start <= record.event.time < window.end  # type: ignore[union-attr]
    )
    database = Database(where)
    kept = database.all(
        "SELECT hash FROM predictions WHERE start >= :start AND start < :end AND body IS NOT NULL",
        start=window.start,
        end=window.end,
    )
    database.close()
    assert sorted(number for (number,) in kept) == hashes[:20]  # type: ignore[type-var]
    assert len(store.rows("tiny", "1", window)) == 20


@pytest.mark.parametrize("policy", [POLICY, DAILY])
def test_labels_join_the_rows_of_every_pane(where: DatabaseAddress, policy: WindowPolicy) -> None:
    log = Log()
    for n in range(60):
        log.predict(T0 + n * 60_000_000, f"p{n}")
    log.predict(T0 + 2 * HOUR, "closes earlier windows")
    log.predict(T0 + 2 * HOUR, "also closes earlier windows")
    for n in range(60):
        log.tell(f"p{n}", 1)
    results = _results(_monitored(where, log.records, policy))
    assert [result.labelled for result in results] == [result.rows for result in results]
    assert results[0].rows == 30


@pytest.mark.parametrize(
    ("limit", "policy"),
    [
        (1, POLICY),
        (7, DAILY),
        *(pytest.param(limit, DAILY, marks=pytest.mark.nightly) for limit in (1, 1000)),
        *(pytest.param(limit, POLICY, marks=pytest.mark.nightly) for limit in (7, 1000)),
    ],
)
def test_results_do_not_depend_on_polls_or_duplicates(
    where: DatabaseAddress,
    limit: int,
    policy: WindowPolicy,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    records = eight_hours().records
    calm = tmp_path_factory.mktemp("calm") / "calm.db"
    _monitored(calm, records, policy)
    chance = random.Random(limit)
    Monitor(where, records, chance, find=lambda *_: _find(policy)).drain(limit)
    assert everything(where) == everything(calm)


def _three_sources() -> list[list[Record]]:
    logs = [Log(f"s-{n}") for n in range(3)]
    chance = random.Random(2)
    for log in logs:
        log.predict(T0, f"{log.source} is there")
    for n in range(400):
        logs[chance.randrange(3)].predict(
            T0 + n * HOUR // 50 + chance.randrange(HOUR // 10), f"{n}"
        )
    return [log.records for log in logs]


@pytest.mark.parametrize("policy", [POLICY, DAILY])
def test_results_do_not_depend_on_how_sources_interleave(
    where: DatabaseAddress, tmp_path_factory: pytest.TempPathFactory, policy: WindowPolicy
) -> None:
    sources = _three_sources()
    in_turn = [record for records in zip_longest(*sources) for record in records if record]
    one_by_one = [*(records[0] for records in sources), *chain(*(r[1:] for r in sources))]
    calm = tmp_path_factory.mktemp("calm") / "calm.db"
    expected = _results(_monitored(calm, in_turn, policy))
    assert len(expected) > 8
    assert _results(_monitored(where, one_by_one, policy)) == expected


def test_monitor_killed_at_any_statement_reports_the_same_results(
    where: DatabaseAddress, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = eight_hours().records
    calm = tmp_path_factory.mktemp("calm") / "calm.db"
    _monitored(calm, records, POLICY)
    chance, deaths = random.Random(8), 0
    for _ in range(20):
        monitor = Monitor(where, records, find=lambda *_: _find(POLICY))
        deaths += monitor.dies(chance.randrange(1, 300), chance.choice([2, 15, 60]))
    assert deaths > 6
    _monitored(where, records, POLICY)
    assert everything(where) == everything(calm)
