"""The monitor's database for all but the consumer: reads, the outbox, and changes by people.

The page, the metrics and the commands open a Store each; the consumer writes through `journal.py`.
"""

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from eventlog.shards import join_key
from monitoring.alarms.rule_state import RuleState, reset
from monitoring.chains import Chain
from monitoring.results import (
    Alarm,
    AlarmStep,
    DeadLetter,
    Delivery,
    DisabledReceiver,
    LateCounts,
    Result,
    Rule,
    Silence,
    SourceLedger,
    Window,
)
from monitoring.samples import Sample
from monitoring.storage import results as stored_results
from monitoring.storage import rows
from monitoring.storage.database import (
    Database,
    Where,
    as_bytes,
    as_bytes_or_none,
    as_int,
    as_int_or_none,
    as_struct,
)
from monitoring.storage.query import Query, RowQuery
from monitoring.storage.samples import read_samples
from monitoring.storage.sql import (
    alarms,
    dead_letters,
    outbox,
    predictions,
    progress,
    results,
    samples,
    windows,
)
from monitoring.windows.grid import END_OF_TIME
from monitoring.windows.totals import ClosedTotals
from monitoring.windows.watermark import VersionProgress
from monitoring.windows.window_state import decode_window, merge_panes, result_of

if TYPE_CHECKING:
    import pandas as pd


class Store:
    """Reads committed steps only; usable from several threads."""

    def __init__(self, where: Where) -> None:
        """Open the database, empty if it is not there yet."""
        self._database = Database(where)
        self._one_at_a_time = threading.Lock()

    def watched(self) -> list[tuple[str, str]]:
        """Read every monitored (model, version)."""
        found = self._all(windows.VERSIONS)
        return [(str(model), str(version)) for model, version in found]

    def results(
        self, model: str, version: str, *, last: int = stored_results.ALL, before: int = END_OF_TIME
    ) -> list[Result]:
        """Read the newest revision of the `last` windows that begin before a time, oldest first."""
        with self._one_at_a_time:
            return stored_results.newest(self._database, (model, version), last, before)

    def recent(self, model: str, version: str, last: int) -> list[Result]:
        """Read the last closed windows, and older ones that hold a score that no later one has."""
        results = self.results(model, version, last=last)
        first = results[0].window.start if results else 0
        older = sorted({s for s in self.closed(model, version).newest.values() if s < first})
        known = (self.result(model, version, start) for start in older)
        return [result for result in known if result is not None] + results

    def closed(self, model: str, version: str) -> ClosedTotals:
        """Read the totals of a version's closed windows."""
        with self._one_at_a_time:
            return stored_results.closed(self._database, (model, version))

    def neighbours(self, model: str, version: str, start: int) -> tuple[int | None, int | None]:
        """Read the starts of the closed windows before and after the one that begins at `start`."""
        window = {"model": model, "version": version, "start": start}
        ((before,),) = self._all(results.START_BEFORE, **window)
        ((after,),) = self._all(results.START_AFTER, **window)
        return as_int_or_none(before), as_int_or_none(after)

    def result(self, model: str, version: str, start: int) -> Result | None:
        """Read the newest revision of one window's result."""
        found = self._all(results.LATEST, model=model, version=version, start=start)
        return as_struct(found[0][0], Result) if found else None

    def live(self, model: str, version: str) -> list[Result]:
        """Read the open windows so far: counts only, no scores."""
        found = self._all(windows.WINDOWS, model=model, version=version)
        states = [decode_window(as_bytes(body)) for (body,) in found]
        opened = merge_panes([state for state in states if state.takes_events])
        return [result_of(model, version, state, sampled=0) for state in opened]

    def late(self, model: str, version: str, window: Window | None = None) -> LateCounts:
        """Count the late events of this window, or of all."""
        begin, end = (-1, END_OF_TIME) if window is None else (window.start, window.end)
        ((events, count),) = self._all(
            windows.LATE, model=model, version=version, begin=begin, end=end
        )
        return LateCounts(as_int(events or 0), as_int(count or 0))

    def prediction(self, prediction_id: str) -> dict[int, rows.StoredPrediction]:
        """Read the stored rows of one prediction, by their number in the request."""
        with self._one_at_a_time:
            found = self._database.among(predictions.KNOWN, [join_key(prediction_id)])
        return {
            as_int(row): rows.StoredPrediction(
                str(model),
                str(version),
                as_int(start),
                number is None,
                None if label is None else rows.decode(as_bytes(label)),
                as_int_or_none(time),
                as_bytes_or_none(predicted),
            )
            for _, row, model, version, start, number, label, time, predicted in found
        }

    def alarms(self) -> list[Alarm]:
        """Read every alarm, newest first."""
        found = self._all(alarms.ALARMS)
        return [as_struct(body, Alarm) for (body,) in found]

    def rule_states(self, model: str, version: str) -> dict[Rule, RuleState]:
        """Read the state of every rule that was judged."""
        found = self._all(alarms.STREAKS, model=model, version=version)
        states = {str(rule): as_struct(body, RuleState) for rule, body in found}
        return {rule: states[rule] for rule in get_args(Rule) if rule in states}

    def acknowledge(self, alarm_id: str, step: AlarmStep) -> bool:
        """Acknowledge an alarm; False where no firing one has this id."""
        with self._one_at_a_time, self._database.transaction():
            return self._take(alarm_id, step, {"firing"}) is not None

    def resolve(self, alarm_id: str, step: AlarmStep) -> bool:
        """Resolve an alarm by hand and reset its rule; False where no open one has this id."""
        with self._one_at_a_time, self._database.transaction():
            alarm = self._take(alarm_id, step, {"firing", "acknowledged"})
            if alarm is None:
                return False
            body = rows.encode(reset(alarm.latest.end))
            self._database.write(alarms.CHANGE_STREAK, body, alarm.model, alarm.version, alarm.rule)
        return True

    def silences(self) -> list[Silence]:
        """Read every silence, ended ones included."""
        found = self._all(alarms.SILENCES)
        return [as_struct(body, Silence) for (body,) in found]

    def silence(self, silence: Silence) -> None:
        """Store a silence."""
        with self._one_at_a_time, self._database.transaction():
            self._database.write(alarms.ADD_SILENCE, silence.silence_id, rows.encode(silence))

    def unsilence(self, silence_id: str, now: int) -> bool:
        """End a silence now; False where no active one has this id."""
        with self._one_at_a_time, self._database.transaction():
            found = self._database.one(alarms.SILENCE, silence_id=silence_id)
            if found is None or (held := as_struct(found[0], Silence)).until <= now:
                return False
            body = rows.encode(msgspec.structs.replace(held, until=now))
            self._database.write(alarms.CHANGE_SILENCE, body, silence_id)
        return True

    def _take(self, alarm_id: str, step: AlarmStep, states: set[str]) -> Alarm | None:
        """Store a person's step on an alarm in one of these states, within a transaction."""
        found = self._database.one(alarms.ALARM, alarm_id=alarm_id)
        if found is None or (alarm := as_struct(found[0], Alarm)).state not in states:
            return None
        state: Literal["acknowledged", "resolved"]
        state = "resolved" if step.deed == "resolved" else "acknowledged"
        after = msgspec.structs.replace(alarm, state=state, steps=[*alarm.steps, step])
        body = rows.encode(after)
        self._database.write(alarms.CHANGE, body, alarm_id)
        return after

    def ledger(self) -> list[SourceLedger]:
        """Read the ledger of each source of the log."""
        found = self._all(progress.LEDGERS)
        return [as_struct(body, SourceLedger) for _, body in found]

    def chains(self) -> list[Chain]:
        """Read the chain of each shard of each source."""
        return [as_struct(body, Chain) for (body,) in self._all(progress.CHAINS)]

    def monitored(self) -> dict[str, Counter[int]]:
        """Read the ingested events, by source and minute of reception."""
        counts: dict[str, Counter[int]] = {}
        for source, minute, events in self._all(progress.MINUTES):
            counts.setdefault(str(source), Counter())[as_int(minute)] = as_int(events)
        return counts

    def monitored_since(self) -> int:
        """Read the first minute whose counts `monitored` still has."""
        found = self._all(progress.MINUTES_SINCE)
        return as_int(found[0][0]) if found else 0

    def totals(self) -> dict[str, int]:
        """Read the named counters over all ingested events."""
        found = self._all(progress.TOTALS)
        (unknown,) = self._all(predictions.COUNT_WAITING_EARLY)
        (letters,) = self._all(dead_letters.COUNT)
        (scorings,) = self._all(results.COUNT_JOBS)
        return {str(name): as_int(value) for name, value in found} | {
            "unknown_labels": as_int(unknown[0]),
            "dead_letters": as_int(letters[0]),
            "waiting_scores": as_int(scorings[0]),
        }

    def rows(self, model: str, version: str, window: Window) -> "pd.DataFrame":
        """Read a window's sampled rows: features, prediction, probabilities and label (or None).

        Empty where retention has deleted them.
        """
        import pandas as pd  # noqa: PLC0415 - the terminal's commands have no use for it

        ((body,),) = self._all(windows.WATCH, model=model, version=version)
        watch = as_struct(body, VersionProgress)
        found = self._all(
            predictions.SAMPLE, model=model, version=version, start=window.start, end=window.end
        )
        if window.start < watch.samples_until:
            found = []  # deleted, or about to be
        bodies = [as_bytes(body) for body, *_ in found]
        labels = [as_bytes_or_none(label) for _, label, *_ in found]
        table = rows.by_column(watch.columns, bodies, labels)
        return pd.DataFrame({name: rows.numbers_again(column) for name, column in table.items()})

    def samples(self, model: str, version: str, window: Window) -> list[Sample]:
        """Read the sampled rows of a window's tensors, in order; empty once they have expired."""
        found = self._all(windows.WATCH, model=model, version=version)
        watch = as_struct(found[0][0], VersionProgress) if found else None
        if watch is None or window.start < watch.samples_until:
            return []
        key = {"model": model, "version": version}
        of_window = {"start": window.start, "end": window.end}
        return read_samples(self._all(samples.OF_WINDOW, **key, **of_window))

    def vectors(
        self, model: str, version: str, window: Window, tensor: str, limit: int
    ) -> list[bytes]:
        """Read the `limit` sampled vectors of a tensor with the smallest hashes."""
        of_window = {"start": window.start, "end": window.end, "tensor": tensor, "limit": limit}
        found = self._all(samples.VECTORS, model=model, version=version, **of_window)
        return [sample.body for sample in read_samples(found)]

    def smallest_rows(
        self, model: str, version: str, window: Window, limit: int
    ) -> dict[str, list[Any]]:
        """Read the values of the `limit` sampled rows with the smallest hashes, by column.

        They come in the order of event time; empty where retention has deleted some.
        """
        found = self._all(windows.WATCH, model=model, version=version)
        watch = as_struct(found[0][0], VersionProgress) if found else None
        if watch is None or window.start < watch.samples_until:
            return {}
        key = {"model": model, "version": version}
        stored = self._all(
            predictions.SMALLEST, **key, start=window.start, end=window.end, limit=limit
        )
        bodies = [as_bytes(body) for (body,) in stored]
        return rows.by_column(watch.columns, bodies, [None] * len(bodies))

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
        """Record a failed attempt and the time of the next one (None: never)."""
        state = "dead" if next_attempt is None else "pending"
        self._write(outbox.FAILED, state, error, next_attempt or 0, webhook_id)

    def revive(self, webhook_id: str, now: int) -> bool:
        """Make a dead webhook due again with all its attempts; returns whether it was dead."""
        with self._one_at_a_time, self._database.transaction():
            (dead,) = self._database.all(outbox.COUNT_DEAD, webhook_id=webhook_id)
            self._database.write(outbox.REVIVE, now, webhook_id)
        return bool(dead[0])

    def disable(self, disabled: DisabledReceiver) -> None:
        """Send nothing to a receiver until `enable`."""
        self._write(outbox.DISABLE, disabled.receiver, rows.encode(disabled))

    def disabled(self) -> list[DisabledReceiver]:
        """Read the disabled receivers."""
        found = self._all(outbox.DISABLED)
        return [as_struct(body, DisabledReceiver) for (body,) in found]

    def enable(self) -> list[DisabledReceiver]:
        """Enable every receiver; returns those that were disabled."""
        before = self.disabled()
        for one in before:
            self._write(outbox.ENABLE, one.receiver)
        return before

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Read the newest `limit` records that could not be ingested, newest first."""
        found = self._all(dead_letters.NEWEST, limit=limit)
        return [
            DeadLetter(as_int(number), str(origin), str(reason), as_bytes(body))
            for number, origin, reason, body in found
        ]

    def retry(self, number: int) -> bool:
        """Ask the monitor to ingest a dead letter again; False where it has no bytes to ingest."""
        with self._one_at_a_time, self._database.transaction():
            found = self._database.one(dead_letters.BODY, number=number)
            if found is None or not as_bytes(found[0]):
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
