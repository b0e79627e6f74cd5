"""The ports of the status page: what it reads, and nothing that it could break."""

from typing import TYPE_CHECKING, Protocol

from monitoring.alarms.rule_state import RuleState
from monitoring.results import (
    Alarm,
    AlarmStep,
    Delivery,
    DisabledReceiver,
    LateCounts,
    Result,
    Rule,
    SourceLedger,
    Window,
)
from monitoring.samples import Sample
from monitoring.windows.totals import ClosedTotals

if TYPE_CHECKING:
    import pandas as pd


class Queries(Protocol):
    """What the monitor found; its store is one. See `monitoring/storage/store.py`."""

    def watched(self) -> list[tuple[str, str]]:
        """Every (model, version) ever seen."""
        ...

    def results(
        self, model: str, version: str, *, last: int = ..., before: int = ...
    ) -> list[Result]:
        """The latest revision of the `last` closed windows that begin before a time, oldest first;
        of all without these.
        """
        ...

    def recent(self, model: str, version: str, last: int) -> list[Result]:
        """The last closed windows, oldest first, after older ones where something is known of none
        later: performance, labels, segments.
        """
        ...

    def closed(self, model: str, version: str) -> ClosedTotals:
        """All closed windows added up."""
        ...

    def neighbours(self, model: str, version: str, start: int) -> tuple[int | None, int | None]:
        """Where the closed windows before and after the one that begins here begin."""
        ...

    def result(self, model: str, version: str, start: int) -> Result | None:
        """The latest revision of one window."""
        ...

    def live(self, model: str, version: str) -> list[Result]:
        """Open windows so far, counts only."""
        ...

    def alarms(self) -> list[Alarm]:
        """Newest first."""
        ...

    def rule_states(self, model: str, version: str) -> dict[Rule, RuleState]:
        """The state of every rule that was judged."""
        ...

    def late(self, model: str, version: str, window: Window | None = None) -> LateCounts:
        """What came too late for this window, or for any."""
        ...

    def ledger(self) -> list[SourceLedger]:
        """What was seen of each source."""
        ...

    def totals(self) -> dict[str, int]:
        """Named counters."""
        ...

    def rows(self, model: str, version: str, window: Window) -> "pd.DataFrame":
        """The sampled rows of a window with their labels."""
        ...

    def samples(self, model: str, version: str, window: Window) -> list[Sample]:
        """Sampled rows of a window's tensors, to be looked at."""
        ...

    def acknowledge(self, alarm_id: str, step: AlarmStep) -> bool:
        """Take note of an alarm; False where no such alarm is firing."""
        ...

    def resolve(self, alarm_id: str, step: AlarmStep) -> bool:
        """End an alarm by hand; False where no such alarm is open."""
        ...

    def deliveries(self) -> list[Delivery]:
        """Newest first."""
        ...

    def disabled(self) -> list[DisabledReceiver]:
        """The receivers that nothing is sent to."""
        ...
