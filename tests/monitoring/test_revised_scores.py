"""A revision replaces scores that depend on labels and retains all others."""

import json
from pathlib import Path
from typing import Any

from monitoring.results import Score
from monitoring.score_jobs import ScoreJob, ScoreReply
from tests.monitoring.log_in_memory import HOUR, T0, FakeScorer, Log, Monitor


class FailingOnRevision(FakeScorer):
    """Fails to score every revision."""

    def replies(self) -> list[ScoreReply]:
        closing = {job.key for job in self.jobs if job.drift}
        return [
            reply
            if reply.key in closing
            else ScoreReply(key=reply.key, scores=[], error="could not be scored: status 9")
            for reply in super().replies()
        ]


class ScoresAtClose(FakeScorer):
    """Adds a segment score and a window score that are computed only when a window closes."""

    def submit(self, job: ScoreJob) -> None:
        super().submit(job)
        if job.drift:
            self._replies[-1].scores.extend(
                [
                    Score(name="rows", value=3.0, segment="x=1"),
                    Score(name="duplicate_share", value=0.5),
                ]
            )


def _labelled_late() -> Log:
    log = Log()
    for n in range(20):
        log.predict(T0 + n, f"p{n}")
    log.pass_time(T0 + 3 * HOUR)
    for n in range(20):
        log.tell(f"p{n}", n % 2)
    return log


def test_revision_retains_scores_computed_at_the_close(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path / "m.db", _labelled_late().records, scorer=ScoresAtClose())
    monitor.drain()
    result = _first(monitor)
    assert result["revision"] > 0
    about = [(s["name"], s["segment"], s["value"]) for s in result["scores"]]
    assert ("rows", "x=1", 3.0) in about
    assert ("duplicate_share", "", 0.5) in about
    assert [value for name, _, value in about if name == "roc_auc"] == [0.5]


def test_failed_revision_retains_all_scores(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path / "m.db", _labelled_late().records, scorer=FailingOnRevision())
    monitor.drain()
    result = _first(monitor)
    reported = {s["name"]: s for s in result["scores"]}
    assert reported["drifted_share"]["value"] is not None
    assert reported["performance"]["note"] == "could not be scored: status 9"


def _first(monitor: Monitor) -> dict[str, Any]:
    found = monitor.database.one(
        "SELECT body FROM results WHERE start = :t ORDER BY revision DESC LIMIT 1", t=T0
    )
    assert found is not None
    body = found[0]
    assert isinstance(body, bytes)
    reported: dict[str, Any] = json.loads(body)
    return reported
