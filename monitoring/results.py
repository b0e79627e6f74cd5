"""The records of monitoring: results, alarms, retrain requests, deliveries, loss counts.

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
GAP = "estimation_gap"  # how much worse the measured score is than the estimate for the same rows
ERROR_GAP = "error_gap"  # the same gap for error rates
EVIDENCE = "gap_evidence"  # evidence of lasting gaps, weighed over windows

PARITY = "parity"  # share of logged predictions that a re-run does not reproduce
EFFECT = "effect"  # share of predictions that change with the drift of one or all columns
SHIFT = "effect_shift"  # change of the mean prediction by that drift

SELECTION_GAP: Rule = "selection_rate_gap"  # gap between groups; also the name of a rule
TRUE_POSITIVE_GAP: Rule = "true_positive_rate_gap"

STRONGEST = "strongest_drift"  # largest drift of a column, divided by its limit for an alarm alone
EMBEDDING_DRIFT = "embedding_drift"  # drift of a tensor's sampled vectors; raises no alarm
JOINT = "joint_drift"  # change of correlations, divided by its limit
MOVED = "joint_change"  # contribution of one column to the joint drift
REFERENCE_ROWS = "reference_rows"  # rows of a trailing reference
LEARNED_ROWS = "learned_rows"  # rows of a baseline that is being learned
TRAFFIC: Rule = "traffic"  # requests of a model in an hour; name of a rule as well
BUDGET = "false_alarms"  # allowed false alarms per window, all rules together


class Window(msgspec.Struct, frozen=True, order=True):
    """`[start, end)` in event time."""

    start: int
    end: int


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One number about a window: of a column, of a segment, or of the whole."""

    name: str  # "drift", "missing_share", "out_of_range_share", "roc_auc", "drifted_share", ...
    value: float | None  # None: could not be scored, see `note`
    column: str = ""
    method: str = ""  # e.g. Evidently's name of the drift method
    threshold: float | None = None
    breached: bool = False
    note: str = ""
    low: float | None = None  # lower bound of the 95 % confidence interval
    high: float | None = None
    # Rows of the score: "carrier=UA"; "carrier" for a comparison of all values of the column.
    segment: str = ""

    @property
    def of_whole(self) -> bool:
        """Whether the score covers all rows and all columns."""
        return not self.column and not self.segment

    @property
    def about(self) -> tuple[str, str, str]:
        """The subject of the number; a window has one number of each."""
        return self.name, self.column, self.segment


# Version of the definitions of scores. It grows if a release scores the same rows differently.
# 1: up to release 0.2, whose results do not state it.
FIGURES = 2


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a window of one model version, as of `revision`.

    Conservation: rows = labelled + pending + expired; conflicting labels are not in this sum.
    """

    model: str
    version: str
    window: Window
    revision: int = 0  # grows each time late labels change the numbers
    events: dict[str, int] = {}  # requests by outcome
    rows: int = 0  # rows answered
    sampled: int = 0  # rows retained and scored
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
    figures: int = 1  # definitions of its scores, see FIGURES
    reviewed: int = 0  # rows whose only label is that of the review queue; not in `labelled`


class LateCounts(msgspec.Struct, frozen=True):
    """Counts of events that came too late for their window; no other counter includes them."""

    events: int = 0
    rows: int = 0  # answered ones


class AlarmStep(msgspec.Struct, frozen=True):
    """A change of an alarm by a person, or by the monitor without a window."""

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
    """A remark of a person on a window or an alarm of a version."""

    note_id: str
    model: str
    version: str
    start: int | None = None  # start of the window; None if the note is about an alarm
    alarm_id: str = ""
    text: str
    actor: str
    created: int


class RevisedWindow(msgspec.Struct, frozen=True, order=True):
    """A window of an alarm whose result was revised after it had been judged."""

    window: Window
    broken: bool  # whether it still breaks the rule


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """A judgement over consecutive results; `alarm_id` is derived from its cause."""

    alarm_id: str
    model: str
    version: str
    rule: Rule
    state: Literal["firing", "acknowledged", "resolved"]
    since: Window  # the first window that broke the rule
    latest: Window  # the last window that was judged while the alarm was open
    sentence: str = ""  # made by the presenter: what is wrong, the number, evidence, columns
    columns: list[str] = []  # the three columns with the largest drift, in order
    severity: Severity = "warning"
    steps: list[AlarmStep] = []  # steps in order of time
    policy: str = ""  # digest of the policy by which `latest` was judged
    revised: list[RevisedWindow] = []  # the newest revised windows, in order of event time


class RetrainRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of the webhook: everything that a training job needs.

    A request of an alarm names the alarm and its window. One of a schedule names the due time.
    """

    model: str
    version: str
    digest: str
    alarm_id: str = ""
    rule: Rule | Literal["schedule"]
    reason: str
    columns: list[Score]  # columns beyond their threshold, worst first; empty for a schedule
    window: Window | None = None  # window that broke the rule
    positions: dict[str, Position]  # positions up to which the log had been read, by source
    rows_url: str  # rows with their labels, Parquet: of the window, or of the period
    register_hint: str  # the command that registers the result
    due: int = 0  # scheduled time, microseconds since the epoch
    period: Window | None = None  # period from the first to the last closed window with rows
    training_url: str = ""  # the period's rows with their labels and weights, Parquet
    validation_url: str = ""  # result of the validation of these rows, JSON


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
    """A receiver that gets no more webhooks until an operator enables it again."""

    receiver: str  # hash of its address, which may contain a secret
    host: str
    since: int
    reason: str


class Hole(msgspec.Struct, frozen=True, array_like=True):
    """The positions `[start, end)` of a source from which nothing was received."""

    start: Position
    end: Position
    lost: bool = False  # given up

    @property
    def size(self) -> int:
        """The number of missing events; 0 if unknown, because the gap ends in another epoch."""
        return self.end.sequence - self.start.sequence if self.start.epoch == self.end.epoch else 0


class DeadLetter(msgspec.Struct, frozen=True):
    """A record of the log that could not be ingested."""

    number: int
    origin: str  # source, epoch and sequence, or the place in the log
    reason: str
    body: bytes


SILENCE = 30_000_000  # microseconds without a report, after which a partition counts as not held


class PartitionHolder(msgspec.Struct, frozen=True, kw_only=True):
    """The monitor that reported a partition of the log last."""

    partition: int
    holder: str  # empty: released and not held since then
    since: int  # this and `reported`: microseconds since the epoch
    reported: int
    behind: int  # records that were not ingested at that time

    def is_held(self, now: int) -> bool:
        """Return whether the latest report is recent."""
        return bool(self.holder) and now - self.reported < SILENCE


class SourceLedger(msgspec.Struct, frozen=True, kw_only=True):
    """The received numbers of one source of the log."""

    source: str
    epoch: int  # with `next_sequence`: one past the highest place ever seen
    next_sequence: int
    # Latest reception time and, if it jumped implausibly, the time that it jumped to.
    received: int = msgspec.field(name="heard", default=0)  # microseconds
    departed: int = 0
    events: int = 0
    heartbeats: int = 0  # not among the events
    lost: int = 0  # numbers that never came and were given up
    recovered: int = 0  # events that arrived after they had counted as lost
    duplicated: int = 0
    unreadable: int = 0
    cuts: int = 0  # number of times that the log had lost ingested events
    holes: list[Hole] = []  # below the highest place, in order
    divided: bool = False  # the sum of its shards: it has no highest place

    @property
    def top(self) -> Position:
        """One past the highest place ever seen."""
        return Position(self.epoch, self.next_sequence)

    @property
    def missing(self) -> int:
        """Numbers that may still be on their way."""
        return sum(hole.size for hole in self.holes if not hole.lost)
