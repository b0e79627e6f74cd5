"""The windows from which the real consumer draws a trailing reference."""

import random
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from eventlog.events import Tensor
from eventlog.log import Record
from monitoring.results import Score
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.store import Store
from registry.manifest import Trailing, Version
from tests.depth import by_depth
from tests.monitoring.log_in_memory import (
    HOUR,
    T0,
    VERSION,
    FakeScorer,
    Log,
    Monitor,
    everything,
)


class _ScorerWithReference(FakeScorer):
    """Reports the trailing reference as a score, so that it is part of the results."""

    def submit(self, job: ScoreJob) -> None:
        super().submit(job)
        values = job.reference.get("x", [])
        reported = Score(name="against", value=float(len(values)), note=repr(values))
        reply = self._replies.pop()
        self._replies.append(ScoreReply(key=reply.key, scores=[*reply.scores, reported]))


def _version(windows: int, rows: int = 100) -> Version:
    trailing = Trailing(windows=windows, rows=rows)
    monitoring = replace(VERSION.manifest.monitoring, trailing=trailing)
    return replace(VERSION, manifest=replace(VERSION.manifest, monitoring=monitoring))


def _log(hours: Sequence[int]) -> list[Record]:
    """Return so many rows in each hour; each value encodes its hour and place."""
    log = Log()
    for hour, rows in enumerate(hours):
        for n in range(rows):
            inputs = {"x": Tensor("FP32", [1, 1], [hour + n / 1000])}
            log.predict(T0 + hour * HOUR + n, f"{hour}-{n}", inputs=inputs)
    log.pass_time(T0 + len(hours) * HOUR + HOUR // 2)
    return log.records


def _hours(job: ScoreJob) -> set[int]:
    return {int(value) for value in job.reference.get("x", [])}


def test_drift_is_measured_against_enough_previous_windows(
    where: DatabaseAddress,
) -> None:
    scorer = _ScorerWithReference()
    monitor = Monitor(
        where, _log([20, 20, 3, 0, 20, 20]), scorer=scorer, find=lambda *_: _version(2)
    )
    monitor.drain()
    found = {(job.window.start - T0) // HOUR: _hours(job) for job in scorer.jobs if job.drift}
    assert found[0] == found[1] == set()
    assert found[2] == {0, 1}
    assert found[4] == {0, 1, 2}, "a window with too few rows still contributes its rows"
    assert found[5] == {1, 2, 4}
    last = next(job for job in reversed(scorer.jobs) if job.reference)
    assert last.reference["x"] == sorted(last.reference["x"]), "in order of event time"
    assert set(last.reference["label"]) == set(), "the reference has no labels"


def test_trailing_reference_samples_rows_by_the_smallest_hashes(where: DatabaseAddress) -> None:
    scorer = _ScorerWithReference()
    records = _log([40, 40, 40, 40, 20])
    Monitor(where, records, scorer=scorer, find=lambda *_: _version(4)).drain()
    (last,) = [job for job in scorer.jobs if job.reference]
    assert len(last.reference["x"]) == 100
    assert _hours(last) == {0, 1, 2, 3}


@pytest.mark.parametrize("seed", range(by_depth(1, 3)))
def test_monitor_killed_at_any_statement_reports_the_same_results(
    where: DatabaseAddress, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = _log([30, 25, 12, 30, 0, 41, 20])
    calm = tmp_path_factory.mktemp("calm") / "calm.db"
    Monitor(calm, records, scorer=_ScorerWithReference(), find=lambda *_: _version(3)).drain()
    results = Store(calm).results("tiny", "1")
    assert any(score.name == "against" and score.value for score in results[-1].scores)
    chance, deaths = random.Random(seed), 0
    for _ in range(10):
        monitor = Monitor(where, records, chance, _ScorerWithReference(), lambda *_: _version(3))
        deaths += monitor.dies(chance.randrange(1, 90), chance.choice([2, 15, 60]))
    assert deaths > 2
    Monitor(where, records, chance, _ScorerWithReference(), lambda *_: _version(3)).drain()
    assert everything(where) == everything(calm)


def test_monitor_continues_with_a_database_of_an_earlier_release(where: DatabaseAddress) -> None:
    """The stored progress has no trailing windows."""
    records = _log([20, 20, 20])
    Monitor(where, records[:30]).drain()
    database = Database(where)
    (body,) = database.all("SELECT body FROM watches")
    assert b"recent" in body[0]  # type: ignore[operator]
    with database.transaction():
        earlier = body[0].replace(b'"recent":[],', b"")  # type: ignore[attr-defined]
        database.do("UPDATE watches SET body = :body", body=earlier)
    database.close()
    Monitor(where, records, find=lambda *_: _version(1)).drain()
    assert [result.rows for result in Store(where).results("tiny", "1")] == [20, 20, 20]
