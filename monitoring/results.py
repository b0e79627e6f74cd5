"""The records of monitoring: results, alarms, retraining requests, webhooks, ledgers.

Times are integer microseconds since the Unix epoch (UTC).
"""

from typing import Literal

import msgspec

from eventlog.log import Position
from registry.manifest import AlarmRule

Verdict = Literal["ok", "drifted", "degraded", "learning", "not enough data"]
Rule = AlarmRule

REFUSED_LABELS = "refused_labels"  # name of the total of labels that the service refused

PERFORMANCE = frozenset(  # scores that need labels
    {"accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier", "calibration_error"}
    | {"mae", "rmse", "mape", "r2", "bias"}
)
Severity = Literal["warning", "critical"]

ESTIMATED = "estimated_"  # prefix of scores that were estimated without labels
GAP = "estimation_gap"  # how much worse the measured score is than the same rows' estimate
ERROR_GAP = "error_gap"  # estimation gap of the error rate
EVIDENCE = "gap_evidence"  # evidence of persistent gaps, accumulated over windows

PARITY = "parity"  # share of logged predictions that a re-run does not reproduce
EFFECT = "effect"  # share of predictions that change with the drift of one or all columns
SHIFT = "effect_shift"  # change of the mean prediction with the drift of one or all columns

SELECTION_GAP: Rule = "selection_rate_gap"  # gap between groups; also the name of a rule
TRUE_POSITIVE_GAP: Rule = "true_positive_rate_gap"

STRONGEST = "strongest_drift"  # largest drift of a column, relative to its limit for an alarm
EMBEDDING_DRIFT = "embedding_drift"  # drift of a tensor's sampled vectors; raises no alarm
JOINT = "joint_drift"  # change of correlations, relative to its limit
MOVED = "joint_change"  # contribution of one column to the joint drift
REFERENCE_ROWS = "reference_rows"  # rows of a trailing reference
LEARNED_ROWS = "learned_rows"  # rows of a baseline that is being learned
TRAFFIC: Rule = "traffic"  # requests of a model in an hour; also the name of a rule
BUDGET = "false_alarms"  # allowed false alarms per window, all rules together


class Window(msgspec.Struct, frozen=True, order=True):
    """`[start, end)` in event time."""

    start: int
    end: int


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One number about a window, or about one of its columns or segments."""

    name: str  # "drift", "missing_share", "out_of_range_share", "roc_auc", "drifted_share", ...
    value: float | None  # None if it could not be computed; `note` then states why
    column: str = ""
    method: str = ""  # such as Evidently's name of the drift method
    threshold: float | None = None
    breached: bool = False
    note: str = ""
    low: float | None = None  # lower bound of the 95 % confidence interval
    high: float | None = None
    # Rows of the score, as "carrier=UA"; "carrier" for a comparison of all values of this column.
    segment: str = ""

    @property
    def of_whole(self) -> bool:
        """Whether the score covers all rows and all columns."""
        return not self.column and not self.segment

    @property
    def about(self) -> tuple[str, str, str]:
        """The subject of the score; a window has one score for each subject."""
        return self.name, self.column, self.segment


# Version of the definitions of scores. A release that changes scores of the same rows increases it.
# 1: up to release 0.2, whose results do not state it.
FIGURES = 2


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a window of one model version; `revision` counts its revisions.

    Always rows = labelled + pending + expired; conflicting labels are not in this sum.
    """

    model: str
    version: str
    window: Window
    revision: int = 0  # increases each time labels change the scores
    events: dict[str, int] = {}  # requests by outcome
    rows: int = 0  # predicted rows
    sampled: int = 0  # rows stored and scored
    labelled: int = 0
    pending: int = 0
    expired: int = 0
    conflicting: int = 0
    # Confusion matrix of a classification: labelled rows by label and prediction. Empty if there
    # are too many classes to display. Rows without a stored payload are not in it. Labels of the
    # review queue count by their weights.
    confusion: dict[str, dict[str, int | float]] = {}
    verdict: Verdict = "ok"
    scores: list[Score] = []
    report: str = ""  # path of Evidently's HTML in the reports folder; empty: no report
    policy: str = ""  # digest of the window's policy; empty in results of earlier releases
    figures: int = 1  # version of the definitions of its scores, see FIGURES
    reviewed: int = 0  # rows with only a label from the review queue; not in `labelled`


class LateCounts(msgspec.Struct, frozen=True):
    """Counts of late events, which no other counter of a window includes."""

    events: int = 0
    rows: int = 0  # predicted rows


class AlarmStep(msgspec.Struct, frozen=True):
    """A change of an alarm by a person, or by the monitor for a reason other than a result."""

    at: int
    deed: Literal["acknowledged", "resolved", "silenced"]
    actor: str
    reason: str = ""


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Matching alarms fire and are shown, but send no webhook; empty fields match all."""

    silence_id: str
    model: str = ""
    version: str = ""
    rule: Rule | Literal[""] = ""
    until: int
    created: int
    actor: str
    reason: str


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A person's remark about a window or an alarm of a version."""

    note_id: str
    model: str
    version: str
    start: int | None = None  # start of the window; None if the note is about an alarm
    alarm_id: str = ""
    text: str
    actor: str
    created: int


class RevisedWindow(msgspec.Struct, frozen=True, order=True):
    """A window of an alarm whose result was revised after its judgement."""

    window: Window
    broken: bool  # whether the window still breaks the rule


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm of one rule over consecutive results; `alarm_id` is derived from its cause."""

    alarm_id: str
    model: str
    version: str
    rule: Rule
    state: Literal["firing", "acknowledged", "resolved"]
    since: Window  # the first window that broke the rule
    latest: Window  # the newest window that was judged while the alarm was open
    sentence: str = ""  # text by the presenter: the fault, its number, the evidence, the columns
    columns: list[str] = []  # the three columns with the largest drift, largest first
    severity: Severity = "warning"
    steps: list[AlarmStep] = []  # in order of time
    policy: str = ""  # digest of the policy by which `latest` was judged
    revised: list[RevisedWindow] = []  # the newest revised windows, in order of event time


class RetrainRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of the webhook: everything that a training job needs.

    A request from an alarm states the alarm and its window. A request from a schedule states the
    due time.
    """

    model: str
    version: str
    digest: str
    alarm_id: str = ""
    rule: Rule | Literal["schedule"]
    reason: str
    columns: list[Score]  # scores of columns beyond their threshold, worst first
    window: Window | None = None  # the window that broke the rule
    positions: dict[str, Position]  # source: position up to which the log had been read
    rows_url: str  # Parquet file of the rows of the window or period, with labels
    register_hint: str  # command that registers the new model
    due: int = 0  # scheduled time, microseconds since the epoch
    period: Window | None = None  # span of the training rows
    training_url: str = ""  # Parquet file of the period's rows, with labels and weights
    validation_url: str = ""  # JSON report about the validation of the training rows


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook in the outbox."""

    webhook_id: str  # derived from the cause, so that a receiver can act once
    body: bytes  # JSON, exactly as signed
    created: int
    attempts: int = 0
    next_attempt: int = 0
    state: Literal["pending", "delivered", "dead", "superseded"] = "pending"
    last_error: str = ""


class DisabledReceiver(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver that gets no webhooks until an operator enables it again."""

    receiver: str  # hash of its address, which may contain a secret
    host: str
    since: int
    reason: str


class Hole(msgspec.Struct, frozen=True, array_like=True):
    """The positions `[start, end)` of a source from which nothing was received."""

    start: Position
    end: Position
    lost: bool = False  # whether the missing events count as lost

    @property
    def size(self) -> int:
        """The number of missing events; 0 if unknown, because the hole ends in another epoch."""
        return self.end.sequence - self.start.sequence if self.start.epoch == self.end.epoch else 0


class DeadLetter(msgspec.Struct, frozen=True):
    """A record of the log that could not be ingested."""

    number: int
    origin: str  # source:epoch:sequence, or the stream's position
    reason: str
    body: bytes


SILENCE = 30_000_000  # microseconds without a report after which a partition is not held


class PartitionHolder(msgspec.Struct, frozen=True, kw_only=True):
    """The monitor that was the last to report a partition of the log."""

    partition: int
    holder: str  # empty if the partition was released and not held since then
    since: int  # time of the holder's first report, in microseconds since the epoch
    reported: int  # time of the newest report, in microseconds since the epoch
    behind: int  # records that were not ingested at the newest report

    def is_held(self, now: int) -> bool:
        """Return whether the latest report is recent."""
        return bool(self.holder) and now - self.reported < SILENCE


class SourceLedger(msgspec.Struct, frozen=True, kw_only=True):
    """The received numbers of one source of the log."""

    source: str
    epoch: int  # newest epoch
    next_sequence: int  # highest received number of the newest epoch, plus 1
    # Newest credible reception time, in microseconds.
    received: int = msgspec.field(name="heard", default=0)
    departed: int = 0  # reception time after an implausible jump, in microseconds; 0 without one
    events: int = 0
    heartbeats: int = 0  # not included in `events`
    lost: int = 0  # missing numbers that were given up
    recovered: int = 0  # events that arrived after they had counted as lost
    duplicated: int = 0
    unreadable: int = 0
    cuts: int = 0  # number of gaps in the local log (eventlog.log.Gap)
    holes: list[Hole] = []  # holes below `top`, in order
    divided: bool = False  # whether this is the sum over shards, for which `top` has no meaning

    @property
    def top(self) -> Position:
        """The position after the highest received position."""
        return Position(self.epoch, self.next_sequence)

    @property
    def missing(self) -> int:
        """The number of missing events that may still arrive."""
        return sum(hole.size for hole in self.holes if not hole.lost)
