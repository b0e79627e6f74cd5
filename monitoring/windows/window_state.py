"""The counters of a window, and the phases of its life. Pure.

    phase     on          becomes   meaning
    pane      open        open      a part of event time that no window has absorbed yet
    open      open        open      takes in events; absorbs the panes that are done
    open      close       closed    takes in no events; labels revise its result
    closed    expire      expired   takes in no labels; deleted with the end of the step

A pane that another window absorbs ends there. What arrives for a pane that is done is late: it is
counted apart and belongs to no window.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from monitoring.counters.duration_buckets import add
from monitoring.counters.service_health import health
from monitoring.counters.window_counters import InputCounters, LabelCounters
from monitoring.results import FIGURES, Result, Window

_DECIDED = 5  # decisions that justify a new scoring, however many there were before
MOST_SHOWN = 20  # classes of a confusion matrix in a result

Phase = Literal["pane", "open", "closed", "expired"]
Transition = Literal["open", "close", "expire"]

TRANSITIONS: dict[tuple[Phase, Transition], Phase] = {
    ("pane", "open"): "open",
    ("open", "open"): "open",
    ("open", "close"): "closed",
    ("closed", "expire"): "expired",
}


class WindowState(msgspec.Struct):
    """The exact counters of one window or pane; its rows lie in the database."""

    start: int
    end: int
    events: dict[str, int] = {}
    rows: int = 0
    labelled: int = 0
    conflicting: int = 0
    latency: dict[int, int] = {}  # answered requests, by bucket (duration_buckets.py)
    label_delay: dict[int, int] = {}  # labelled rows: from prediction to label, by bucket
    inputs: InputCounters = msgspec.field(default_factory=InputCounters)
    answers: LabelCounters = msgspec.field(default_factory=LabelCounters)
    phase: Phase = "open"
    scored_labels: int = 0  # labelled rows when it was last scored
    revision: int = -1  # revision of its newest result
    reviews: int = 0  # decisions of people about its rows
    scored_reviews: int = 0  # reviews that the latest score contained

    @property
    def window(self) -> Window:
        """Its place in event time."""
        return Window(self.start, self.end)

    @property
    def takes_events(self) -> bool:
        """Whether events may still be counted in it."""
        return self.phase in {"pane", "open"}

    @property
    def counted(self) -> bool:
        """Whether every row's values were counted; not where an earlier release began it."""
        return self.inputs.rows + self.inputs.withheld == self.rows

    def move(self, transition: Transition) -> None:
        """Enter the next phase; raises ValueError if the table has no such transition."""
        try:
            self.phase = TRANSITIONS[self.phase, transition]
        except KeyError:
            raise ValueError(
                f"window {self.start}: cannot {transition} while {self.phase}"
            ) from None

    def absorb(self, pane: "WindowState") -> None:
        """Add the counters of the pane that follows."""
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
        """Return whether the labels since the last scoring justify a new one.

        New labels for a fifth of the rows do, or for the last unlabelled rows; `final`: any do,
        because no more are awaited. Five new decisions of people do, or a fifth of them.
        """
        decided = self.reviews - self.scored_reviews
        if decided > 0 and (final or decided >= _DECIDED or 5 * decided >= self.reviews):
            return True
        fresh = self.labelled - self.scored_labels
        return fresh > 0 and (final or 5 * fresh >= self.rows or self.labelled == self.rows)

    def in_order(self) -> "WindowState":
        """Return the same counters in a canonical order: equal ones are equal to the byte."""
        return msgspec.structs.replace(
            self,
            events=dict(sorted(self.events.items())),
            latency=dict(sorted(self.latency.items())),
            label_delay=dict(sorted(self.label_delay.items())),
            answers=self.answers.in_order(),
        )


class _Flags(msgspec.Struct):
    """The phase as earlier releases stored it: flags, and no `phase`."""

    phase: str = ""
    pane: bool = False
    closed: bool = False
    expired: bool = False


def decode_window(body: bytes) -> WindowState:
    """Decode a stored window, of this release or an earlier one."""
    # Release 0.2.0 also had a phase `judged`. No value can hold these quotes unescaped.
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
    """Return open windows for display, oldest first; panes are part of the open window."""
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
    """Build a result from a window's counters; its rows are labelled, pending or expired.

    `final`: no further label is awaited, so unlabelled rows have expired.
    """
    unlabelled = state.rows - state.labelled
    confusion = state.answers.confusion
    cells: dict[str, dict[str, int | float]] = {}
    if len(confusion.names) <= MOST_SHOWN:
        cells = {true: {**row} for true, row in confusion.in_order().cells.items()}
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
