"""The monitor's database for pages, metrics and commands: reads, the outbox, and people's changes.

Pages, metrics and commands each open a Store; the consumer uses `journal.py`.
"""

import threading
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import msgspec

from eventlog.events import Label
from eventlog.shards import join_key
from monitoring.alarms.alarm_lifecycle import RuleState, reset
from monitoring.alarms.retrain_schedule import ScheduleProgress
from monitoring.alarms.traffic import JudgedHour
from monitoring.chains import Chain
from monitoring.counters.batch_days import BatchDay
from monitoring.results import (
    Alarm,
    AlarmStep,
    DeadLetter,
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
from monitoring.reviews.selection import Place
from monitoring.samples import Sample
from monitoring.source_ledgers import summed
from monitoring.storage import results as stored_results
from monitoring.storage import rows as stored_rows
from monitoring.storage.database import (
    Database,
    DatabaseAddress,
    as_bytes,
    as_bytes_or_none,
    as_int,
    as_int_or_none,
    as_struct,
)
from monitoring.storage.query import Query, RowQuery
from monitoring.storage.reviews import read_picked
from monitoring.storage.samples import read_samples
from monitoring.storage.sql import (
    alarms,
    batch_days,
    dead_letters,
    notes,
    outbox,
    partitions,
    predictions,
    progress,
    results,
    reviews,
    samples,
    schedules,
    traffic,
    windows,
)
from monitoring.storage.window_labels import WindowLabels
from monitoring.windows.grid import END_OF_TIME
from monitoring.windows.totals import ClosedTotals
from monitoring.windows.traffic import JudgedHours, NewestHour
from monitoring.windows.watermark import VersionActivity, VersionProgress
from monitoring.windows.window_state import decode_window, merge_panes, result_of
from registry.own_columns import own_name

if TYPE_CHECKING:
    import pandas as pd


class Store:
    """The database outside the consumer; reads only committed steps, and is thread-safe."""

    def __init__(self, address: DatabaseAddress) -> None:
        """Open the database; create an empty database if it does not exist."""
        self._database = Database(address)
        self._one_at_a_time = threading.Lock()

    def monitored_versions(self) -> list[tuple[str, str]]:
        """Read the model and version of every monitored version."""
        rows = self._all(windows.VERSIONS)
        return [(str(model), str(version)) for model, version in rows]

    def newest_requests(self) -> dict[tuple[str, str], int]:
        """Read the newest event time of every monitored version, in microseconds."""
        rows = self._all(windows.ALL_PROGRESS)
        activities = [as_struct(body, VersionActivity) for (body,) in rows]
        return {(activity.model, activity.version): activity.newest for activity in activities}

    def results(
        self, model: str, version: str, *, last: int = stored_results.ALL, before: int = END_OF_TIME
    ) -> list[Result]:
        """Read the newest revisions of the `last` windows that begin before `before`.

        The results are in the order of event time.
        """
        with self._one_at_a_time:
            return stored_results.newest(self._database, (model, version), last, before)

    def recent(self, model: str, version: str, last: int) -> list[Result]:
        """Read the last closed windows, and older windows with a score that later windows lack."""
        results = self.results(model, version, last=last)
        first = results[0].window.start if results else 0
        older = sorted({s for s in self.closed(model, version).newest.values() if s < first})
        older_results = (self.result(model, version, start) for start in older)
        return [result for result in older_results if result is not None] + results

    def closed(self, model: str, version: str) -> ClosedTotals:
        """Read the totals of a version's closed windows."""
        with self._one_at_a_time:
            return stored_results.closed(self._database, (model, version))

    def neighbours(self, model: str, version: str, start: int) -> tuple[int | None, int | None]:
        """Read the starts of the previous and the next closed window; each can be None."""
        window = {"model": model, "version": version, "start": start}
        ((before,),) = self._all(results.START_BEFORE, **window)
        ((after,),) = self._all(results.START_AFTER, **window)
        return as_int_or_none(before), as_int_or_none(after)

    def result(self, model: str, version: str, start: int) -> Result | None:
        """Read the newest revision of one window's result."""
        rows = self._all(results.LATEST, model=model, version=version, start=start)
        return as_struct(rows[0][0], Result) if rows else None

    def live(self, model: str, version: str) -> list[Result]:
        """Read the current counts of the open windows; open windows have no scores."""
        rows = self._all(windows.WINDOWS, model=model, version=version)
        states = [decode_window(as_bytes(body)) for (body,) in rows]
        opened = merge_panes([state for state in states if state.accepts_events])
        return [result_of(model, version, state, sampled=0) for state in opened]

    def late(self, model: str, version: str, window: Window | None = None) -> LateCounts:
        """Count the late events of a window, or of all windows."""
        begin, end = (-1, END_OF_TIME) if window is None else (window.start, window.end)
        ((events, count),) = self._all(
            windows.LATE, model=model, version=version, begin=begin, end=end
        )
        return LateCounts(as_int(events or 0), as_int(count or 0))

    def prediction(self, prediction_id: str) -> dict[int, stored_rows.StoredPrediction]:
        """Read the stored rows of one prediction, by their index in the request."""
        with self._one_at_a_time:
            rows = self._database.look_up(predictions.OF_ID, [join_key(prediction_id)])
        return {
            as_int(row): stored_rows.StoredPrediction(
                str(model),
                str(version),
                as_int(start),
                number is None,
                None if label is None else stored_rows.decode(as_bytes(label)),
                as_int_or_none(time),
                as_bytes_or_none(predicted),
            )
            for _, row, model, version, start, number, label, time, predicted in rows
        }

    def batch_days(self, model: str, version: str, last: int) -> dict[int, BatchDay]:
        """Read the last days with batch-scored rows, by the day's start, newest first."""
        rows = self._all(batch_days.NEWEST, model=model, version=version, limit=last)
        return {as_int(start): as_struct(body, BatchDay) for start, body in rows}

    def newest_batch_days(self, start: int) -> dict[tuple[str, str], BatchDay]:
        """Read the newest day with batch-scored rows of each version, not before `start`."""
        days = self._all(batch_days.SINCE, start=start)
        return {(str(name), str(number)): as_struct(body, BatchDay) for name, number, body in days}

    def alarms(self) -> list[Alarm]:
        """Read every alarm, newest first."""
        rows = self._all(alarms.ALARMS)
        return [as_struct(body, Alarm) for (body,) in rows]

    def rule_states(self, model: str, version: str) -> dict[Rule, RuleState]:
        """Read the state of every rule that was judged at least once."""
        rows = self._all(alarms.RULE_STATES, model=model, version=version)
        states = {str(rule): as_struct(body, RuleState) for rule, body in rows}
        return {rule: states[rule] for rule in get_args(Rule) if rule in states}

    def traffic(self, model: str) -> JudgedHours:
        """Read the hourly requests of a model; empty if no hour was judged."""
        rows = self._all(traffic.OF_MODEL, model=model)
        has_hours = rows and rows[0][0] is not None
        return as_struct(rows[0][0], JudgedHours) if has_hours else JudgedHours()

    def newest_traffic(self) -> dict[str, JudgedHour]:
        """Read the newest judged hour of each model that has judged hours."""
        rows = self._all(traffic.JUDGED)
        hours = ((str(model), as_struct(body, NewestHour)) for model, body in rows if body)
        return {model: hour.newest for model, hour in hours if hour.newest is not None}

    def acknowledge(self, alarm_id: str, step: AlarmStep) -> bool:
        """Acknowledge an alarm; False if no firing alarm has this id."""
        with self._one_at_a_time, self._database.transaction():
            return self._add_step(alarm_id, step, {"firing"}) is not None

    def resolve(self, alarm_id: str, step: AlarmStep) -> bool:
        """Resolve an alarm and reset its rule; False if no open alarm has this id."""
        with self._one_at_a_time, self._database.transaction():
            alarm = self._add_step(alarm_id, step, {"firing", "acknowledged"})
            if alarm is None:
                return False
            body = stored_rows.encode(reset(alarm.latest.end))
            self._database.write(
                alarms.CHANGE_RULE_STATE, body, alarm.model, alarm.version, alarm.rule
            )
        return True

    def silences(self) -> list[Silence]:
        """Read every silence, including ended silences."""
        rows = self._all(alarms.SILENCES)
        return [as_struct(body, Silence) for (body,) in rows]

    def silence(self, silence: Silence) -> None:
        """Store a silence."""
        with self._one_at_a_time, self._database.transaction():
            self._database.write(
                alarms.ADD_SILENCE, silence.silence_id, stored_rows.encode(silence)
            )

    def unsilence(self, silence_id: str, now: int) -> bool:
        """End a silence now; False if no active silence has this id."""
        with self._one_at_a_time, self._database.transaction():
            row = self._database.one(alarms.SILENCE, silence_id=silence_id)
            if row is None or (silence := as_struct(row[0], Silence)).until <= now:
                return False
            body = stored_rows.encode(msgspec.structs.replace(silence, until=now))
            self._database.write(alarms.CHANGE_SILENCE, body, silence_id)
        return True

    def notes(self, model: str, version: str) -> list[Note]:
        """Read the notes on a version's windows and alarms, oldest first."""
        rows = self._all(notes.OF_VERSION, model=model, version=version)
        return [as_struct(body, Note) for (body,) in rows]

    def all_notes(self) -> list[Note]:
        """Read every note, oldest first."""
        return [as_struct(body, Note) for (body,) in self._all(notes.ALL)]

    def notes_on_alarms(self, alarm_ids: Iterable[str]) -> dict[str, list[Note]]:
        """Read the notes on these alarms by alarm id, oldest first."""
        with self._one_at_a_time:
            rows = self._database.look_up(notes.OF_ALARMS, alarm_ids)
        by_alarm: dict[str, list[Note]] = {}
        entries = (as_struct(body, Note) for (body,) in rows)
        for note in sorted(entries, key=lambda note: (note.created, note.note_id)):
            by_alarm.setdefault(note.alarm_id, []).append(note)
        return by_alarm

    def add_note(self, note: Note) -> None:
        """Store a note."""
        body = stored_rows.encode(note)
        self._write(
            notes.ADD, note.note_id, note.model, note.version, note.start, note.alarm_id,
            note.created, body,
        )  # fmt: skip

    def delete_note(self, note_id: str) -> bool:
        """Delete a note; False if no note has this id."""
        with self._one_at_a_time, self._database.transaction():
            return self._database.do(notes.DELETE, note_id=note_id) > 0

    def _add_step(self, alarm_id: str, step: AlarmStep, states: set[str]) -> Alarm | None:
        """Add a person's step to an alarm; return None if the alarm's state is not in `states`."""
        row = self._database.one(alarms.ALARM, alarm_id=alarm_id)
        if row is None or (alarm := as_struct(row[0], Alarm)).state not in states:
            return None
        state: Literal["acknowledged", "resolved"]
        state = "resolved" if step.deed == "resolved" else "acknowledged"
        after = msgspec.structs.replace(alarm, state=state, steps=[*alarm.steps, step])
        body = stored_rows.encode(after)
        self._database.write(alarms.CHANGE, body, alarm_id)
        return after

    def ledger(self) -> list[SourceLedger]:
        """Read the ledger of each source, summed over all partitions."""
        rows = self._all(progress.ALL_LEDGERS)
        return summed(
            (as_int(partition), str(shard), as_struct(body, SourceLedger))
            for partition, shard, body in rows
        )

    def chains(self) -> list[Chain]:
        """Read the chain of each shard of each source."""
        return [as_struct(body, Chain) for (body,) in self._all(progress.ALL_CHAINS)]

    def partitions(self) -> list[PartitionHolder]:
        """Read the monitor that holds each partition; empty if the log is not divided."""
        rows = self._all(progress.LAYOUT)
        number = as_int(rows[0][0]) if rows else 0
        holders = {as_int(row[0]): row[1:5] for row in self._all(partitions.ALL)}
        return [_holder(n, holders.get(n, ("", 0, 0, 0))) for n in range(number)]

    def monitored(self) -> dict[str, Counter[int]]:
        """Read the ingested events, by source and minute of reception."""
        counts: dict[str, Counter[int]] = {}
        for source, minute, events in self._all(progress.MINUTES):
            counts.setdefault(str(source), Counter())[as_int(minute)] += as_int(events)
        return counts

    def monitored_since(self) -> int:
        """Read the first minute for which `monitored` returns all counts."""
        rows = self._all(progress.MINUTES_SINCE)
        return as_int(rows[0][0] or 0)

    def totals(self) -> dict[str, int]:
        """Read the counters over all ingested events, by name."""
        counted: Counter[str] = Counter()
        for name, value in self._all(progress.TOTALS):
            counted[str(name)] += as_int(value)
        (unknown,) = self._all(predictions.COUNT_WAITING_EARLY)
        (letters,) = self._all(dead_letters.COUNT)
        (scorings,) = self._all(results.COUNT_JOBS)
        return dict(counted) | {
            "unknown_labels": as_int(unknown[0]),
            "dead_letters": as_int(letters[0]),
            "waiting_scores": as_int(scorings[0]),
        }

    def rows(
        self, model: str, version: str, window: Window, *, weighted: bool = False
    ) -> "pd.DataFrame":
        """Read a window's sampled rows: features, prediction, probabilities and label (or None).

        The table is empty if retention has deleted the rows. With `weighted`, it also contains the
        rows that people labelled outside the sample, and a column `weight` before the label.
        """
        sample = self._sample(model, version, window)
        decided = self._decided(model, version, window) if weighted and sample.rows else None
        return _frame((decided or WindowLabels()).table(sample.columns, sample.rows))

    def examples(self, model: str, version: str, window: Window) -> "pd.DataFrame":
        """Read a window's sampled rows like `rows`, with three identifying columns first.

        These are `prediction_id`, `row` (the index in the request) and `event_time` (microseconds
        since the epoch). They get other names if features have these names.
        """
        sample = self._sample(model, version, window)
        names = sample.columns
        places = [row.place for row in sample.rows]
        identifiers: dict[str, list[Any]] = {
            own_name("prediction_id", names): [name for _, name, _ in places],
            own_name("row", names): [row for _, _, row in places],
            own_name("event_time", names): [time for time, _, _ in places],
        }
        return _frame(identifiers | WindowLabels().table(names, sample.rows))

    def _sample(self, model: str, version: str, window: Window) -> "_Sample":
        """Read a window's sampled rows, as stored; empty if their retention has ended."""
        progress_rows = self._all(windows.PROGRESS, model=model, version=version)
        if not progress_rows:
            return _Sample([], [])
        version_progress = as_struct(progress_rows[0][0], VersionProgress)
        if window.start < version_progress.samples_until:
            return _Sample(version_progress.columns, [])  # ignore expired rows still stored
        stored = self._all(
            predictions.SAMPLE, model=model, version=version, start=window.start, end=window.end
        )
        rows = [
            stored_rows.SampledRow(
                as_bytes(body),
                as_bytes_or_none(label),
                (as_int_or_none(time) or 0, str(name), as_int(row)),
            )
            for body, label, time, name, row in stored
        ]
        return _Sample(version_progress.columns, rows)

    def _decided(self, model: str, version: str, window: Window) -> WindowLabels:
        """Read the review decisions about the rows of a window."""
        rows = self._all(
            reviews.DECIDED, model=model, version=version, begin=window.start, end=window.end
        )
        decided = [row for row in read_picked(rows) if row.label is not None]
        return WindowLabels.of(decided, self._label)

    def _label(self, place: Place) -> Label | None:
        name, row = place
        prediction = self.prediction(name).get(row)
        return None if prediction is None else prediction.label

    def samples(self, model: str, version: str, window: Window) -> list[Sample]:
        """Read the sampled rows of a window's tensors, by tensor and hash.

        The list is empty if the samples' retention has ended.
        """
        rows = self._all(windows.PROGRESS, model=model, version=version)
        version_progress = as_struct(rows[0][0], VersionProgress) if rows else None
        if version_progress is None or window.start < version_progress.samples_until:
            return []
        key = {"model": model, "version": version}
        of_window = {"start": window.start, "end": window.end}
        return read_samples(self._all(samples.OF_WINDOW, **key, **of_window))

    def vectors(
        self, model: str, version: str, window: Window, tensor: str, limit: int
    ) -> list[bytes]:
        """Read the `limit` sampled vectors of a tensor with the smallest hashes."""
        of_window = {"start": window.start, "end": window.end, "tensor": tensor, "limit": limit}
        rows = self._all(samples.VECTORS, model=model, version=version, **of_window)
        return [sample.body for sample in read_samples(rows)]

    def smallest_rows(
        self, model: str, version: str, window: Window, limit: int
    ) -> dict[str, list[Any]]:
        """Read the values of the `limit` sampled rows with the smallest hashes, by column.

        Rows are in the order of event time. The result is empty if the rows' retention has ended.
        """
        rows = self._all(windows.PROGRESS, model=model, version=version)
        version_progress = as_struct(rows[0][0], VersionProgress) if rows else None
        if version_progress is None or window.start < version_progress.samples_until:
            return {}
        key = {"model": model, "version": version}
        stored = self._all(
            predictions.SMALLEST, **key, start=window.start, end=window.end, limit=limit
        )
        bodies = [as_bytes(body) for (body,) in stored]
        return stored_rows.by_column(version_progress.columns, bodies, [None] * len(bodies))

    def has_duty(self, name: str) -> bool:
        """Return whether this monitor has a duty that only one monitor has at a time.

        If no other monitor has the duty, this store takes it until its connection ends.
        """
        with self._one_at_a_time:
            return self._database.try_lock(f"duty {name}")

    def due(self, now: int) -> list[Delivery]:
        """Read the pending webhooks whose next attempt is not after `now`, oldest first."""
        return self._deliveries(outbox.DUE, now=now)

    def deliveries(self) -> list[Delivery]:
        """Read every webhook, newest first."""
        return self._deliveries(outbox.DELIVERIES)

    def delivered(self, webhook_id: str) -> None:
        """Mark a webhook as delivered."""
        self._write(outbox.DELIVERED, webhook_id)

    def failed(self, webhook_id: str, error: str, next_attempt: int | None) -> None:
        """Record a failed attempt and the next attempt's time; None if there is no next attempt."""
        state = "dead" if next_attempt is None else "pending"
        self._write(outbox.FAILED, state, error, next_attempt or 0, webhook_id)

    def revive(self, webhook_id: str, now: int) -> bool:
        """Queue a dead webhook again with all attempts; return whether the webhook was dead."""
        with self._one_at_a_time, self._database.transaction():
            (dead,) = self._database.all(outbox.COUNT_DEAD, webhook_id=webhook_id)
            self._database.write(outbox.REVIVE, now, webhook_id)
        return bool(dead[0])

    def schedules(self) -> dict[str, ScheduleProgress]:
        """Read the progress of each model's schedule."""
        rows = self._all(schedules.ALL)
        return {str(model): as_struct(body, ScheduleProgress) for model, body in rows}

    def disable(self, disabled: DisabledReceiver) -> None:
        """Disable a receiver: no webhook is sent to it until `enable`."""
        self._write(outbox.DISABLE, disabled.receiver, stored_rows.encode(disabled))

    def disabled(self) -> list[DisabledReceiver]:
        """Read the disabled receivers."""
        rows = self._all(outbox.DISABLED)
        return [as_struct(body, DisabledReceiver) for (body,) in rows]

    def enable(self) -> list[DisabledReceiver]:
        """Enable every receiver; return the receivers that were disabled."""
        before = self.disabled()
        for receiver in before:
            self._write(outbox.ENABLE, receiver.receiver)
        return before

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Read the newest `limit` records that could not be ingested, newest first."""
        rows = self._all(dead_letters.NEWEST, limit=limit)
        return [
            DeadLetter(as_int(number), str(origin), str(reason), as_bytes(body))
            for number, origin, reason, body in rows
        ]

    def retry(self, number: int) -> bool:
        """Queue a dead letter for ingestion; False if it does not exist or has no content."""
        with self._one_at_a_time, self._database.transaction():
            row = self._database.one(dead_letters.BODY, number=number)
            if row is None or not as_bytes(row[0]):
                return False
            self._database.write(dead_letters.RETRY, number)
        return True

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _deliveries(self, query: Query, **values: object) -> list[Delivery]:
        names = outbox.ADD.columns
        return [
            msgspec.convert(dict(zip(names, row, strict=True)), Delivery, strict=False)
            for row in self._all(query, **values)
        ]

    def _all(self, query: Query, **values: object) -> list[tuple[object, ...]]:
        with self._one_at_a_time:
            return self._database.all(query, **values)

    def _write(self, statement: RowQuery, *values: object) -> None:
        with self._one_at_a_time, self._database.transaction():
            self._database.write(statement, *values)


class _Sample(NamedTuple):
    """The sampled rows of a window."""

    columns: list[str]  # names of the rows' values
    rows: list[stored_rows.SampledRow]


def _frame(table: dict[str, list[Any]]) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415 - slow to import; most commands do not need it

    return pd.DataFrame({name: stored_rows.as_numbers(table[name]) for name in table})


def _holder(number: int, row: tuple[object, ...]) -> PartitionHolder:
    holder, since, reported, behind = row
    return PartitionHolder(
        partition=number,
        holder=str(holder or ""),
        since=as_int(since or 0),
        reported=as_int(reported or 0),
        behind=as_int(behind or 0),
    )
