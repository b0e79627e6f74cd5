"""Poison jobs: scoring jobs that failed in every try, stored as dead letters for a later retry."""

from msgspec.structs import replace

from monitoring.results import DeadLetter, Result, Score
from monitoring.storage.database import as_struct
from monitoring.storage.journal import Journal
from monitoring.storage.pending_scores import PendingScore, WaitingScore
from monitoring.storage.rows import encode

_ORIGIN = "scoring/"  # prefix of the origin; names of sources contain no slash


def is_poison(letter: DeadLetter) -> bool:
    """Return whether a dead letter is a scoring job, not a record of the log."""
    return letter.origin.startswith(_ORIGIN)


def dead_letter_job(journal: Journal, number: int, reason: str) -> None:
    """Store a queued scoring job as a dead letter; call it within a transaction."""
    pending = journal.job(number)
    job, result = pending.job, pending.result
    origin = f"{_ORIGIN}{job.model}/{job.version}:{job.window.start}:{result.revision}"
    journal.add_dead_letter(origin, reason, encode(replace(pending, number=0)))


def requeue(journal: Journal, letter: DeadLetter) -> WaitingScore:
    """Queue a dead-lettered scoring job again; call it within a transaction."""
    pending = as_struct(letter.body, PendingScore)
    return journal.add_job(replace(pending, number=journal.next_job(), retried=True))


def completed(result: Result, revised: Result | None) -> Result:
    """Return the result of a retried job, merged into the later revision `revised` if any."""
    if revised is None or revised.revision <= result.revision:
        return result
    scored = {score.about for score in revised.scores if score.value is not None}
    added = [score for score in result.scores if score.about not in scored]
    replaced = {score.about for score in added}
    retained = [score for score in without_failure(revised.scores) if score.about not in replaced]
    return replace(revised, scores=[*added, *retained], report=result.report or revised.report)


def without_failure(scores: list[Score]) -> list[Score]:
    """Return the scores without the placeholder of a revision that could not be scored."""
    return [score for score in scores if score.name != FAILED_REVISION or score.value is not None]


# Name of the score without a value that replaces the scores of a failed revision.
FAILED_REVISION = "performance"
