"""The interface through which pages and API read and change the monitor's database."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from monitoring.alarms.alarm_lifecycle import RuleState
from monitoring.alarms.retrain_schedule import ScheduleProgress
from monitoring.alarms.traffic import JudgedHour
from monitoring.counters.batch_days import BatchDay
from monitoring.results import (
    Alarm,
    AlarmStep,
    Delivery,
    DisabledReceiver,
    LateCounts,
    Note,
    PartitionHolder,
    Result,
    Rule,
    Silence,
    SourceLedger,
    Window,
)
from monitoring.samples import Sample
from monitoring.windows.totals import ClosedTotals
from monitoring.windows.traffic import JudgedHours

if TYPE_CHECKING:
    import pandas as pd


class Queries(Protocol):
    """Reads and changes of the monitor's results; `monitoring/storage/store.py` implements them."""

    def monitored_versions(self) -> list[tuple[str, str]]:
        """Return the model and version of every monitored version."""
        ...

    def newest_requests(self) -> dict[tuple[str, str], int]:
        """Return the newest event time of every version, in microseconds."""
        ...

    def results(
        self, model: str, version: str, *, last: int = ..., before: int = ...
    ) -> list[Result]:
        """Return the newest revisions of the `last` closed windows that begin before `before`.

        The results are in the order of event time. By default, all closed windows are returned.
        """
        ...

    def recent(self, model: str, version: str, last: int) -> list[Result]:
        """Return the last closed windows, oldest first.

        The list begins with older windows that have a score which all later windows lack.
        """
        ...

    def closed(self, model: str, version: str) -> ClosedTotals:
        """Return the sums of all closed windows."""
        ...

    def neighbours(self, model: str, version: str, start: int) -> tuple[int | None, int | None]:
        """Return the starts of the previous and the next closed window; each can be None."""
        ...

    def result(self, model: str, version: str, start: int) -> Result | None:
        """Return the newest revision of one window's result."""
        ...

    def live(self, model: str, version: str) -> list[Result]:
        """Return the current counts of the open windows; open windows have no scores."""
        ...

    def batch_days(self, model: str, version: str, last: int) -> dict[int, BatchDay]:
        """Return the last days with batch-scored rows, by the day's start, newest first."""
        ...

    def newest_batch_days(self, start: int) -> dict[tuple[str, str], BatchDay]:
        """Return the newest day with batch-scored rows of each version, not before `start`."""
        ...

    def alarms(self) -> list[Alarm]:
        """Return every alarm, newest first."""
        ...

    def rule_states(self, model: str, version: str) -> dict[Rule, RuleState]:
        """Return the state of every rule that was judged at least once."""
        ...

    def late(self, model: str, version: str, window: Window | None = None) -> LateCounts:
        """Count the late events of a window, or of all windows."""
        ...

    def ledger(self) -> list[SourceLedger]:
        """Return the ledger of each source."""
        ...

    def partitions(self) -> list[PartitionHolder]:
        """Return the monitor that holds each partition; empty if the log is not divided."""
        ...

    def totals(self) -> dict[str, int]:
        """Return the counters over all ingested events, by name."""
        ...

    def rows(
        self, model: str, version: str, window: Window, *, weighted: bool = False
    ) -> "pd.DataFrame":
        """Return a window's sampled rows with their labels.

        With `weighted`, also return reviewed rows outside the sample, and weights of all rows.
        """
        ...

    def examples(self, model: str, version: str, window: Window) -> "pd.DataFrame":
        """Return a window's sampled rows like `rows`, with three identifying columns first."""
        ...

    def samples(self, model: str, version: str, window: Window) -> list[Sample]:
        """Return the sampled rows of a window's tensors."""
        ...

    def traffic(self, model: str) -> JudgedHours:
        """Return the hourly requests of a model; empty if no hour was judged."""
        ...

    def newest_traffic(self) -> dict[str, JudgedHour]:
        """Return the newest judged hour of each model that has judged hours."""
        ...

    def acknowledge(self, alarm_id: str, step: AlarmStep) -> bool:
        """Acknowledge an alarm; False if no firing alarm has this id."""
        ...

    def resolve(self, alarm_id: str, step: AlarmStep) -> bool:
        """Resolve an alarm; False if no open alarm has this id."""
        ...

    def silences(self) -> list[Silence]:
        """Return every silence, including ended silences."""
        ...

    def silence(self, silence: Silence) -> None:
        """Store a silence."""
        ...

    def unsilence(self, silence_id: str, now: int) -> bool:
        """End a silence now; False if no active silence has this id."""
        ...

    def notes(self, model: str, version: str) -> list[Note]:
        """Return the notes on a version's windows and alarms, oldest first."""
        ...

    def notes_on_alarms(self, alarm_ids: Iterable[str]) -> dict[str, list[Note]]:
        """Return the notes on these alarms by alarm id, oldest first."""
        ...

    def add_note(self, note: Note) -> None:
        """Store a note."""
        ...

    def delete_note(self, note_id: str) -> bool:
        """Delete a note; False if no note has this id."""
        ...

    def deliveries(self) -> list[Delivery]:
        """Return every webhook, newest first."""
        ...

    def schedules(self) -> dict[str, ScheduleProgress]:
        """Return the progress of each model's schedule."""
        ...

    def disabled(self) -> list[DisabledReceiver]:
        """Return the disabled receivers, to which no webhook is sent."""
        ...
