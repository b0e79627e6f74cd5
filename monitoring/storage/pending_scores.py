"""Scorings that are queued in the database."""

import msgspec

from eventlog.log import Position
from monitoring.results import Result, Rule
from monitoring.score_jobs import ScoreJob


class PendingScore(msgspec.Struct, frozen=True):
    """A queued scoring: the job, and the state of the window when it was queued."""

    number: int
    job: ScoreJob
    result: Result  # the window's counts, still without scores
    positions: dict[str, Position]
    judge: list[Rule]  # rules to judge with this scoring's result
    ended: list[str] = []  # other versions of the model without traffic for more than a window
    retried: bool = False  # whether an operator queued it again after every attempt had failed


class ModelOfJob(msgspec.Struct, frozen=True):
    """The part of a job that names its model."""

    model: str


class ModelOfPendingScore(msgspec.Struct, frozen=True):
    """The part of a stored scoring that names its model, decoded without the rows."""

    job: ModelOfJob


class WaitingScore(msgspec.Struct, frozen=True):
    """A queued scoring whose data are only in the database, to save memory."""

    number: int
    size: int  # bytes in the database
    model: str
