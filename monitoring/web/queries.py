"""The ports of the status page: what it reads, and nothing that it could break."""

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
    """The port to the monitor's results; `monitoring/storage/store.py` implements it."""

    def watched(self) -> list[tuple[str, str]]:
        """Return every (model, version) ever seen."""
        ...

    def newest_requests(self) -> dict[tuple[str, str], int]:
        """Return the newest event time of every version."""
        ...

    def results(
        self, model: str, version: str, *, last: int = ..., before: int = ...
    ) -> list[Result]:
        """Return the latest revisions of closed windows, oldest first.

        Only the `last` ones, and only those that begin before a time, if these are set.
        """
        ...

    def recent(self, model: str, version: str, last: int) -> list[Result]:
        """Return the last closed windows, oldest first.

        Older ones precede them if no later one has performance, labels or segments.
        """
        ...

    def closed(self, model: str, version: str) -> ClosedTotals:
        """Return all closed windows added up."""
        ...

    def neighbours(self, model: str, version: str, start: int) -> tuple[int | None, int | None]:
        """Return the begins of the closed windows before and after the one that begins here."""
        ...

    def result(self, model: str, version: str, start: int) -> Result | None:
        """Return the latest revision of one window."""
        ...

    def live(self, model: str, version: str) -> list[Result]:
        """Open windows so far, counts only."""
        ...

    def batch_days(self, model: str, version: str, last: int) -> dict[int, BatchDay]:
        """Return the rows of files of the last days that had any, by their start."""
        ...

    def newest_batch_days(self, start: int) -> dict[tuple[str, str], BatchDay]:
        """Return the newest day of each version that had rows of files since `start`."""
        ...

    def alarms(self) -> list[Alarm]:
        """Return alarms, newest first."""
        ...

    def rule_states(self, model: str, version: str) -> dict[Rule, RuleState]:
        """Return the state of every rule that was judged."""
        ...

    def late(self, model: str, version: str, window: Window | None = None) -> LateCounts:
        """Return the counts of events too late for this window, or for any."""
        ...

    def ledger(self) -> list[SourceLedger]:
        """Return the received numbers of each source."""
        ...

    def partitions(self) -> list[PartitionHolder]:
        """Return the holder of each partition of the log; empty if it is not divided."""
        ...

    def totals(self) -> dict[str, int]:
        """Return named counters."""
        ...

    def rows(
        self, model: str, version: str, window: Window, *, weighted: bool = False
    ) -> "pd.DataFrame":
        """Return the sampled rows of a window with their labels; with `weighted`, see the store."""
        ...

    def examples(self, model: str, version: str, window: Window) -> "pd.DataFrame":
        """Return a window's sampled rows with their labels, after three columns that name each."""
        ...

    def samples(self, model: str, version: str, window: Window) -> list[Sample]:
        """Return sampled rows of a window's tensors, to be looked at."""
        ...

    def traffic(self, model: str) -> JudgedHours:
        """Return the requests of a model by the hour."""
        ...

    def newest_traffic(self) -> dict[str, JudgedHour]:
        """Return the newest evaluated hour of each model."""
        ...

    def acknowledge(self, alarm_id: str, step: AlarmStep) -> bool:
        """Take note of an alarm; False if no such alarm is firing."""
        ...

    def resolve(self, alarm_id: str, step: AlarmStep) -> bool:
        """End an alarm by hand; False if no such alarm is open."""
        ...

    def silences(self) -> list[Silence]:
        """Return every silence, ended ones included."""
        ...

    def silence(self, silence: Silence) -> None:
        """Store a silence."""
        ...

    def unsilence(self, silence_id: str, now: int) -> bool:
        """End a silence now; False if no active one has this id."""
        ...

    def notes(self, model: str, version: str) -> list[Note]:
        """The notes on windows and alarms of a version, oldest first."""
        ...

    def notes_on_alarms(self, alarm_ids: Iterable[str]) -> dict[str, list[Note]]:
        """The notes on alarms, oldest first, by the alarm."""
        ...

    def add_note(self, note: Note) -> None:
        """Store a note."""
        ...

    def delete_note(self, note_id: str) -> bool:
        """Delete a note; return False if none has this id."""
        ...

    def deliveries(self) -> list[Delivery]:
        """Return alarms, newest first."""
        ...

    def schedules(self) -> dict[str, ScheduleProgress]:
        """Return the progress of each model's schedule."""
        ...

    def disabled(self) -> list[DisabledReceiver]:
        """Return the receivers that nothing is sent to."""
        ...
