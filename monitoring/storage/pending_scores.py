"""Scorings that were decided on and wait in the database."""

import msgspec

from eventlog.log import Position
from monitoring.results import Result, Rule
from monitoring.score_jobs import ScoreJob


class PendingScore(msgspec.Struct, frozen=True):
    """A scoring that was decided on: what is to be scored and what was known at that moment."""

    number: int
    job: ScoreJob
    result: Result  # the counts, without scores
    positions: dict[str, Position]
    judge: list[Rule]  # whose turn it is with this scoring
    ended: list[str] = []  # versions of the model without traffic since a whole window before
    retried: bool = False  # by command, after it failed every try


class ModelOfJob(msgspec.Struct, frozen=True):
    """The part of a job that names its model."""

    model: str


class ModelOfPendingScore(msgspec.Struct, frozen=True):
    """The part of a stored scoring that names its model: reading it spares the rows."""

    job: ModelOfJob


class WaitingScore(msgspec.Struct, frozen=True):
    """A scheduled scoring; all its data are in the database."""

    number: int
    size: int  # bytes that it has there
    model: str
