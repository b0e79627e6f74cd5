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

PERFORMANCE = frozenset(  # figures of answers beside the truth
    {"accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier", "calibration_error"}
    | {"mae", "rmse", "mape", "r2", "bias"}
)
Severity = Literal["warning", "critical"]

ESTIMATED = "estimated_"  # before the name of a figure that was estimated without labels
GAP = "estimation_gap"  # how much worse the truth is than the estimate for the same rows
ERROR_GAP = "error_gap"  # the same of plain errors
EVIDENCE = "gap_evidence"  # of lasting gaps, weighed over windows

PARITY = "parity"  # share of logged answers that the registered version does not give again
EFFECT = "effect"  # what the drift of a column (of all) does to the answers
SHIFT = "effect_shift"  # by how much it moves their mean

SELECTION_GAP: Rule = "selection_rate_gap"  # between groups; names of rules as well
TRUE_POSITIVE_GAP: Rule = "true_positive_rate_gap"

STRONGEST = "strongest_drift"  # of any column, in parts of what one column by itself may drift
EMBEDDING_DRIFT = "embedding_drift"  # of a tensor's sampled vectors; raises no alarm
JOINT = "joint_drift"  # of how columns go together, in parts of what is allowed
MOVED = "joint_change"  # the part of a column in it
REFERENCE_ROWS = "reference_rows"  # that drift was measured against, where that is not fixed
LEARNED_ROWS = "learned_rows"  # of a baseline that is being learned
BUDGET = "false_alarms"  # that are allowed per window, all rules together


class Window(msgspec.Struct, frozen=True, order=True):
    """`[start, end)` in event time."""

    start: int
    end: int


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One number about a window: of a column, of a segment, or of the whole."""

    name: str  # "drift", "missing_share", "out_of_range_share", "roc_auc", "drifted_share", ...
    value: float | None  # None: could not be scored, `note` says why
    column: str = ""
    method: str = ""  # e.g. Evidently's name of the drift method
    threshold: float | None = None
    breached: bool = False
    note: str = ""
    low: float | None = None  # where the value may lie as well: 95 %
    high: float | None = None
    # Of which rows alone: "carrier=UA"; "carrier" where it compares the column's values.
    segment: str = ""

    @property
    def of_whole(self) -> bool:
        """Whether it is of all rows and of no single column."""
        return not self.column and not self.segment

    @property
    def about(self) -> tuple[str, str, str]:
        """What it is a number of; a window has one of each."""
        return self.name, self.column, self.segment


# Revision of the definitions of scores: grows with a release that scores the same rows otherwise.
# 1: up to release 0.2, whose results do not state it.
FIGURES = 2


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a window of one model version showed, as known at `revision`.

    Conservation: rows = labelled + pending + expired; conflicting labels are counted apart.
    """

    model: str
    version: str
    window: Window
    revision: int = 0  # grows each time late labels change the numbers
    events: dict[str, int] = {}  # requests by outcome
    rows: int = 0  # rows answered
    sampled: int = 0  # rows kept and scored
    labelled: int = 0
    pending: int = 0
    expired: int = 0
    conflicting: int = 0
    # Confusion matrix of a classification: labelled rows by label and prediction. Empty with more
    # classes than a person reads. Rows without a stored payload are not in it.
    confusion: dict[str, dict[str, int]] = {}
    verdict: Verdict = "ok"
    scores: list[Score] = []
    report: str = ""  # file name of Evidently's HTML below the reports folder, empty: none
    policy: str = ""  # digest of the policy that it was watched by; empty: of an earlier release
    figures: int = 1  # definitions of its scores, see FIGURES


class LateCounts(msgspec.Struct, frozen=True):
    """What came too late for its window: counted here, and in no figure."""

    events: int = 0
    rows: int = 0  # answered ones


class AlarmStep(msgspec.Struct, frozen=True):
    """What a person, or the monitor without a window, did about an alarm."""

    at: int
    deed: Literal["acknowledged", "resolved", "silenced"]
    actor: str
    reason: str = ""


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Alarms that match fire and are seen, and ask for nothing; empty fields match all."""

    silence_id: str
    model: str = ""
    version: str = ""
    rule: Rule | Literal[""] = ""
    until: int
    created: int
    actor: str
    reason: str


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
    latest: Window  # the last window seen while it was open
    sentence: str = ""  # made by the presenter: what is wrong, the number, evidence, columns
    columns: list[str] = []  # the three with the largest drift, in order
    severity: Severity = "warning"
    steps: list[AlarmStep] = []  # in order
    policy: str = ""  # digest of the one by which `latest` broke the rule, or kept it
    revised: list[RevisedWindow] = []  # the newest ones, in order of event time


class RetrainRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body of the webhook: everything that a training job needs."""

    model: str
    version: str
    digest: str
    alarm_id: str
    rule: Rule
    reason: str
    columns: list[Score]  # that broke their threshold, worst first
    window: Window
    positions: dict[str, Position]  # the log had been read up to here, by source
    rows_url: str  # the window's rows with their labels, Parquet
    register_hint: str  # the command that registers the result


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
    """A receiver that wants no more webhooks, until a person says otherwise."""

    receiver: str  # names its address without telling it, which may hold a secret
    host: str
    since: int
    reason: str


class Hole(msgspec.Struct, frozen=True, array_like=True):
    """Places `[start, end)` in a source where nothing has come from."""

    start: Position
    end: Position
    lost: bool = False  # given up

    @property
    def size(self) -> int:
        """How many numbers it holds; 0 where that is unknown, because it ends in another epoch."""
        return self.end.sequence - self.start.sequence if self.start.epoch == self.end.epoch else 0


class DeadLetter(msgspec.Struct, frozen=True):
    """A record of the log that could not be taken in."""

    number: int
    origin: str  # source, epoch and sequence, or where it lay
    reason: str
    body: bytes


class SourceLedger(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one source of the log."""

    source: str
    epoch: int  # with `next_sequence` the highest place ever seen, plus one
    next_sequence: int
    # The reception that its clock has reached and, where it is doubted, where it departed to.
    received: int = msgspec.field(name="heard", default=0)  # microseconds
    departed: int = 0
    events: int = 0
    heartbeats: int = 0  # not among the events
    lost: int = 0  # numbers that never came and were given up
    recovered: int = 0  # of those given up, how many came after all
    duplicated: int = 0
    unreadable: int = 0
    cuts: int = 0  # times that the log had lost events that were already ingested
    holes: list[Hole] = []  # below the highest place, in order

    @property
    def top(self) -> Position:
        """One past the highest place ever seen."""
        return Position(self.epoch, self.next_sequence)

    @property
    def missing(self) -> int:
        """Numbers that may still be on their way."""
        return sum(hole.size for hole in self.holes if not hole.lost)
