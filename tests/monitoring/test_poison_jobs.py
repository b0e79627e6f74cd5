"""A window that cannot be scored is dead-lettered and complete after a manual retry."""

from pathlib import Path

import msgspec
import pytest

from monitoring.results import Result
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.scoring.lag import ScoringLag
from monitoring.storage.database import DatabaseAddress
from monitoring.storage.store import Store
from tests.monitoring.log_in_memory import T0, FakeScorer, Monitor, eight_hours

pytestmark = pytest.mark.untraced

HOUR = 3_600_000_000
ALL = 1000  # dead letters to list: every revision of a window can add one


class Poisoned(FakeScorer):
    """Fails every job of one window as poison until `cured` is set."""

    def __init__(self, window: int, *, revisions: bool) -> None:
        super().__init__()
        self._start = T0 + window * HOUR
        self._revisions = revisions
        self.cured = False

    def submit(self, job: ScoreJob) -> None:
        deadly = job.window.start == self._start and (job.drift or self._revisions)
        if self.cured or not deadly:
            super().submit(job)
            return
        self.jobs.append(job)
        self._replies.append(ScoreReply(key=job.key, scores=[], error="it died", poison=True))


def _scored_windows(where: DatabaseAddress) -> dict[int, tuple[object, ...]]:
    """Return the newest revision of every window, with scores in a fixed order."""
    store = Store(where)
    found: list[Result] = store.results("tiny", "1")
    store.close()
    return {
        one.window.start: (
            one.revision,
            one.verdict,
            one.rows,
            one.labelled,
            tuple(sorted(map(msgspec.json.encode, one.scores))),
        )
        for one in found
    }


@pytest.mark.parametrize("revisions", [True, False])
@pytest.mark.parametrize("window", [2, 6])
def test_poison_job_affects_only_its_window_and_a_retry_completes_it(
    tmp_path: Path, window: int, revisions: bool
) -> None:
    log = eight_hours()
    Monitor(tmp_path / "calm.db", log.records).drain()
    where = tmp_path / "monitor.db"
    scorer = Poisoned(window, revisions=revisions)
    monitor = Monitor(where, log.records, scorer=scorer)
    monitor.drain()
    store = Store(where)
    letters = store.dead_letters(ALL)
    assert letters
    assert {letter.reason for letter in letters} == {"it died"}
    assert {letter.origin.split(":")[0] for letter in letters} == {"scoring/tiny/1"}
    differing = _scored_windows(where).items() ^ _scored_windows(tmp_path / "calm.db").items()
    assert {start for start, _ in differing} == {T0 + window * HOUR}
    scorer.cured = True
    for letter in letters:
        assert store.retry(letter.number)
    assert monitor.consumer.retry_dead_letters()
    monitor.drain()
    assert store.dead_letters(ALL) == []
    assert _scored_windows(where) == _scored_windows(tmp_path / "calm.db")


def test_retried_job_that_fails_is_dead_lettered_again(tmp_path: Path) -> None:
    where = tmp_path / "monitor.db"
    monitor = Monitor(where, eight_hours().records, scorer=Poisoned(2, revisions=False))
    monitor.drain()
    store = Store(where)
    (letter,) = store.dead_letters(ALL)
    before = _scored_windows(where)
    store.retry(letter.number)
    monitor.consumer.retry_dead_letters()
    monitor.drain()
    assert [one.origin for one in store.dead_letters(ALL)] == [letter.origin]
    assert _scored_windows(where) == before


def test_scoring_lag_is_the_age_of_the_oldest_queued_window() -> None:
    now = [100.0]
    lag = ScoringLag(lambda: now[0])
    assert (lag.waiting, lag.age) == (0, 0.0)
    lag.queued([1, 2])
    now[0] = 160.0
    lag.queued([3])
    assert (lag.waiting, lag.age) == (3, 60.0)
    lag.finished(1)
    lag.finished(2)
    assert (lag.waiting, lag.age) == (1, 0.0)
    lag.restart()
    assert lag.waiting == 0
