"""The counters and the phases of a window. Pure.

    phase     meaning                                                    transitions
    pane      counts events and labels until a window absorbs it         open: open
    open      counts events and labels; absorbs panes that are done      open: open, close: closed
    closed    counts no events; labels revise its result                 expire: expired
    expired   counts nothing; is deleted at the end of the step

The first pane of a window becomes the open window; the window absorbs later panes, whose state is
then deleted. An event that arrives for an absorbed pane is late: it is counted separately and is in
no window.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from monitoring.counters.duration_buckets import add
from monitoring.counters.service_health import health
from monitoring.counters.window_counters import InputCounters, LabelCounters
from monitoring.results import FIGURES, Result, Window

_MOST_UNSCORED = 5  # number of new review decisions that always justifies a revision
MOST_SHOWN = 20  # maximum classes of a confusion matrix in a result

Phase = Literal["pane", "open", "closed", "expired"]
Transition = Literal["open", "close", "expire"]

TRANSITIONS: dict[tuple[Phase, Transition], Phase] = {
    ("pane", "open"): "open",
    ("open", "open"): "open",
    ("open", "close"): "closed",
    ("closed", "expire"): "expired",
}


class WindowState(msgspec.Struct):
    """The exact counters of one window or pane; the rows are in the database."""

    start: int
    end: int
    events: dict[str, int] = {}  # requests by outcome
    rows: int = 0  # predicted rows
    labelled: int = 0
    conflicting: int = 0  # labels that contradict an earlier label
    latency: dict[int, int] = {}  # answered requests by latency bucket (duration_buckets.py)
    label_delay: dict[int, int] = {}  # labelled rows by bucket of the time from event to label
    inputs: InputCounters = msgspec.field(default_factory=InputCounters)
    answers: LabelCounters = msgspec.field(default_factory=LabelCounters)
    phase: Phase = "open"
    scored_labels: int = 0  # labelled rows at the last scoring
    revision: int = -1  # newest result revision; -1 before the first
    reviews: int = 0  # review decisions about rows
    scored_reviews: int = 0  # review decisions at the last scoring

    @property
    def window(self) -> Window:
        """The span of event time."""
        return Window(self.start, self.end)

    @property
    def accepts_events(self) -> bool:
        """Whether further events are counted."""
        return self.phase in {"pane", "open"}

    @property
    def counted(self) -> bool:
        """Whether all rows are in `inputs`; an earlier release may have left rows out."""
        return self.inputs.rows + self.inputs.withheld == self.rows

    def move(self, transition: Transition) -> None:
        """Enter the next phase; raises ValueError if TRANSITIONS does not allow it."""
        try:
            self.phase = TRANSITIONS[self.phase, transition]
        except KeyError:
            raise ValueError(
                f"window {self.start}: cannot {transition} while {self.phase}"
            ) from None

    def absorb(self, pane: "WindowState") -> None:
        """Add the counters of the next pane."""
        self.end = pane.end
        self.rows += pane.rows
        self.labelled += pane.labelled
        self.conflicting += pane.conflicting
        self.reviews += pane.reviews
        add(self.events, pane.events)
        add(self.latency, pane.latency)
        add(self.label_delay, pane.label_delay)
        self.inputs.merge(pane.inputs)
        self.answers.merge(pane.answers)

    def needs_revision(self, *, final: bool) -> bool:
        """Return whether labels since the last scoring justify a new result revision.

        New labels justify it if they cover a fifth of the rows, or the last unlabelled rows. New
        review decisions justify it if they are five, or a fifth of all decisions about the window.
        If the wait for labels is over (`final`), any new label or decision justifies it.
        """
        reviews = self.reviews - self.scored_reviews
        if reviews > 0 and (final or reviews >= _MOST_UNSCORED or 5 * reviews >= self.reviews):
            return True
        labels = self.labelled - self.scored_labels
        return labels > 0 and (final or 5 * labels >= self.rows or self.labelled == self.rows)

    def in_order(self) -> "WindowState":
        """Return a sorted copy, so that equal counters are stored as equal bytes."""
        return msgspec.structs.replace(
            self,
            events=dict(sorted(self.events.items())),
            latency=dict(sorted(self.latency.items())),
            label_delay=dict(sorted(self.label_delay.items())),
            answers=self.answers.in_order(),
        )


class _Flags(msgspec.Struct):
    """The phase of a stored window; earlier releases stored flags in place of `phase`."""

    phase: str = ""
    pane: bool = False
    closed: bool = False
    expired: bool = False


def decode_window(body: bytes) -> WindowState:
    """Decode a window that this or an earlier release has stored."""
    # Release 0.2.0 had another phase, `judged`. JSON escapes quotes, so no value can match this.
    window = _decode_window(body.replace(b'"phase":"judged"', b'"phase":"closed"'))
    flags = _decode_flags(body)
    if not flags.phase:
        window.phase = _phase_of(flags)
    return window


_decode_window = msgspec.json.Decoder(WindowState).decode
_decode_flags = msgspec.json.Decoder(_Flags).decode


def _phase_of(flags: _Flags) -> Phase:
    if flags.expired:
        return "expired"
    if flags.closed:
        return "closed"
    return "pane" if flags.pane else "open"


def merge_panes(states: Iterable[WindowState]) -> list[WindowState]:
    """Merge panes into the open window before them, for display; states are oldest first."""
    merged: list[WindowState] = []
    for state in states:
        if state.phase == "pane" and merged:
            merged[-1].absorb(state)
        else:
            merged.append(state)
    return merged


def result_of(
    model: str, version: str, state: WindowState, *, sampled: int, final: bool = False
) -> Result:
    """Build a result from a window's counters.

    Rows without a label are pending, or expired if the wait for labels is over (`final`).
    """
    unlabelled = state.rows - state.labelled
    confusion = state.answers.confusion
    cells: dict[str, dict[str, int | float]] = {}
    if len(confusion.names) <= MOST_SHOWN:
        cells = {label: {**row} for label, row in confusion.in_order().cells.items()}
    return Result(
        model=model,
        version=version,
        window=state.window,
        revision=max(state.revision, 0),
        events=dict(sorted(state.events.items())),
        rows=state.rows,
        sampled=sampled,
        labelled=state.labelled,
        pending=0 if final else unlabelled,
        expired=unlabelled if final else 0,
        conflicting=state.conflicting,
        confusion=cells,
        verdict="not enough data",
        scores=health(state.events, state.latency, state.label_delay),
        figures=FIGURES,
    )
