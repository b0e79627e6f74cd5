"""The consumer's reads and writes, inside one transaction per step."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import msgspec

from eventlog.log import Position
from monitoring.alarms.alarm_lifecycle import RuleState
from monitoring.alarms.retrain_schedule import ScheduleProgress
from monitoring.chains import Chain
from monitoring.counters.batch_days import BatchDay, merge
from monitoring.results import (
    Alarm,
    DeadLetter,
    Delivery,
    LateCounts,
    Result,
    Rule,
    Silence,
    SourceLedger,
    Window,
)
from monitoring.storage.database import (
    Database,
    as_bytes,
    as_int,
    as_struct,
)
from monitoring.storage.pending_scores import ModelOfPendingScore, PendingScore, WaitingScore
from monitoring.storage.predictions import Key, Predictions
from monitoring.storage.results import closed
from monitoring.storage.reviews import Reviews
from monitoring.storage.rows import encode
from monitoring.storage.samples import Samples
from monitoring.storage.sql import (
    alarms,
    batch_days,
    dead_letters,
    outbox,
    progress,
    results,
    schedules,
    windows,
)
from monitoring.storage.traffic import read_traffic, save_traffic
from monitoring.windows.grid import END_OF_TIME
from monitoring.windows.totals import add
from monitoring.windows.traffic import JudgedHours, OpenHours
from monitoring.windows.watermark import VersionProgress
from monitoring.windows.window_state import WindowState, decode_window

LedgerKey = tuple[str, str]  # source and shard; the shard is empty if the log is not divided
MERGED = -1  # pane start under which the merged counts of old panes' late events are stored


class Journal:
    """Reads and writes of one partition's rows, for use inside a transaction.

    Partitions share the numbering of dead letters: only serialized transactions add dead letters.
    """

    def __init__(self, database: Database, partition: int = 0) -> None:
        """Read and write the rows of `partition` in `database`."""
        self.database = database
        self.partition = partition
        self.predictions = Predictions(database, partition)
        self.samples = Samples(database)
        self.reviews = Reviews(database, sweeps_leases=partition == 0)

    # Reads when the monitor starts

    def positions(self) -> dict[str, Position]:
        """Read the next position of each stream."""
        rows = self.database.all(progress.POSITIONS, partition=self.partition)
        return {str(source): Position(as_int(epoch), as_int(seq)) for source, epoch, seq in rows}

    def ledgers(self) -> dict[LedgerKey, SourceLedger]:
        """Read the ledger of each source and shard."""
        rows = self.database.all(progress.LEDGERS, partition=self.partition)
        ledgers = [(str(shard), as_struct(body, SourceLedger)) for shard, body in rows]
        return {(ledger.source, shard): ledger for shard, ledger in ledgers}

    def chains(self) -> list[Chain]:
        """Read the chain of each shard of each source."""
        rows = self.database.all(progress.CHAINS, partition=self.partition)
        return [as_struct(body, Chain) for (body,) in rows]

    def save_chains(self, chains: Iterable[Chain]) -> None:
        """Store the chains that changed."""
        self.database.many(
            progress.SAVE_CHAIN,
            [(chain.source, chain.shard, encode(chain), self.partition) for chain in chains],
        )

    def version_progress(self) -> dict[Key, VersionProgress]:
        """Read the progress of every monitored version."""
        rows = self.database.all(windows.PROGRESS_OF_PARTITION, partition=self.partition)
        versions = [as_struct(body, VersionProgress) for (body,) in rows]
        return {(version.model, version.version): version for version in versions}

    def windows(self, key: Key) -> dict[int, WindowState]:
        """Read the windows that can still change, by start."""
        rows = self.database.all(windows.WINDOWS, **_of(key))
        states = [decode_window(as_bytes(body)) for (body,) in rows]
        return {state.start: state for state in states if state.phase != "expired"}

    def queued_jobs(self) -> list[WaitingScore]:
        """Read the queued scorings, oldest first."""
        rows = self.database.all(results.JOB_SIZES, partition=self.partition)
        return [self._waiting(as_int(number), as_int(size)) for number, size in rows]

    def _waiting(self, number: int, size: int) -> WaitingScore:
        row = self.database.one(results.JOB, partition=self.partition, number=number)
        assert row is not None
        return WaitingScore(number, size, as_struct(row[0], ModelOfPendingScore).job.model)

    def sampled_hashes(self, key: Key, window: Window, tensor: str) -> list[int]:
        """Read the hashes of a window's sampled rows, or of a tensor's samples if one is named."""
        if tensor:
            return self.samples.hashes(key, tensor, window)
        return self.predictions.sampled_hashes(key, window)

    # Writes at the end of a step

    def save_progress(
        self,
        positions: Mapping[str, Position],
        ledgers: Iterable[tuple[LedgerKey, SourceLedger]],
    ) -> None:
        """Store the positions up to which the log is ingested, and the ledgers."""
        self.predictions.reset()
        self.samples.flush()
        self.reviews.flush()
        self.database.many(
            progress.SAVE_POSITION,
            [(name, at.epoch, at.sequence, self.partition) for name, at in positions.items()],
        )
        self.database.many(
            progress.SAVE_LEDGER,
            [(self.partition, *key, encode(ledger)) for key, ledger in ledgers],
        )

    def count_ingested(self, counts: Mapping[tuple[str, int], int]) -> None:
        """Add ingested events, by source and minute of reception."""
        self.database.many(
            progress.COUNT_MINUTE,
            [
                (self.partition, source, minute, events)
                for (source, minute), events in counts.items()
            ],
        )

    def traffic(self) -> dict[str, tuple[OpenHours, JudgedHours]]:
        """Read every model's hourly requests."""
        return read_traffic(self.database)

    def save_traffic(
        self,
        counted: Iterable[tuple[str, OpenHours]],
        judged: Iterable[tuple[str, OpenHours, JudgedHours]],
    ) -> None:
        """Store open hours (`counted`), or open and judged hours (`judged`), by model."""
        save_traffic(self.database, counted, judged)

    def count_batches(self, days: Mapping[tuple[str, str, int], BatchDay], retained: int) -> None:
        """Add counts of batch-scored rows, by model, version and day; delete old days.

        A day is deleted if it began more than `retained` microseconds before the added day.
        """
        for (model, version, start), day in days.items():
            key = {"model": model, "version": version}
            row = self.database.one(batch_days.OF_DAY, **key, start=start)
            before = BatchDay() if row is None else as_struct(row[0], BatchDay)
            self.database.write(batch_days.SAVE, model, version, start, encode(merge(before, day)))
            self.database.do(batch_days.DELETE_BEFORE, **key, until=start - retained)

    def count_late(self, counts: Mapping[tuple[str, str, int], LateCounts]) -> None:
        """Add counts of late events, by model, version and pane start."""
        self.database.many(
            windows.COUNT_LATE,
            [(*place, late.events, late.rows) for place, late in counts.items()],
        )

    def compact_late(self, key: Key, until: int) -> None:
        """Merge the late-event counts of all panes that begin before `until` into one count."""
        old = _of(key) | {"begin": 0, "end": until}
        ((events, count),) = self.database.all(windows.LATE, **old)
        if events is not None:
            self.database.write(windows.COUNT_LATE, *key, MERGED, events, count)
            self.database.do(windows.DELETE_LATE, **old)

    def save_version_progress(self, versions: Sequence[tuple[str, str, bytes]]) -> None:
        """Store the encoded progress of versions, by model and version."""
        rows = [(*version, self.partition) for version in versions]
        self.database.many(windows.SAVE_PROGRESS, rows)

    def save_windows(self, states: Iterable[tuple[Key, WindowState]]) -> None:
        """Store the counts of windows."""
        self.database.many(
            windows.SAVE_WINDOW,
            [(*key, state.start, encode(state.in_order())) for key, state in states],
        )

    def delete_windows(self, places: Sequence[tuple[str, str, int]]) -> None:
        """Delete windows that can no longer change, by model, version and start."""
        self.database.many(windows.DELETE_WINDOW, places)

    def count(self, name: str, more: int = 1) -> None:
        """Add to the total of this name."""
        self.database.write(progress.COUNT, self.partition, name, more)

    def add_dead_letter(
        self, origin: str, reason: str, body: bytes, partition: int | None = None
    ) -> None:
        """Store a record that could not be ingested; `partition` (default: this one) retries it."""
        self.database.serialize()
        shown = reason.replace("\0", "\N{SYMBOL FOR NULL}")  # PostgreSQL rejects NUL in text
        owner = self.partition if partition is None else partition
        self.database.write(dead_letters.ADD, origin, shown, body, owner)

    def retry_dead_letter(self, origin: str) -> None:
        """Queue the newest dead letter of this origin for ingestion."""
        self.database.write(dead_letters.RETRY_LAST, origin)

    def delete_dead_letters(self, keep: int) -> int:
        """Delete all but the newest `keep` dead letters; return the number deleted."""
        return self.database.do(dead_letters.DELETE_OLDEST, keep=keep)

    def delete_minutes(self, sources: Iterable[str], until: int) -> None:
        """Delete the ingestion counts of minutes before `until`."""
        self.save_horizon("minutes", until)
        self.database.many(
            progress.DELETE_MINUTES, [(self.partition, source, until) for source in sources]
        )

    def save_horizon(self, name: str, until: int) -> None:
        """Store the reception time before which rows of this kind are deleted."""
        self.database.write(progress.SAVE_HORIZON, self.partition, name, until)

    def has_retries(self) -> bool:
        """Return whether dead letters are queued for ingestion."""
        row = self.database.one(dead_letters.ANY_RETRY, partition=self.partition)
        return row is not None

    def pop_retries(self) -> list[DeadLetter]:
        """Return and delete the dead letters that are queued for ingestion."""
        rows = self.database.all(dead_letters.RETRIES, partition=self.partition)
        letters = [
            DeadLetter(as_int(number), str(origin), str(reason), as_bytes(body))
            for number, origin, reason, body in rows
        ]
        numbers = [(letter.number,) for letter in letters]
        self.database.many(dead_letters.DELETE_LETTERS, numbers)
        self.database.many(dead_letters.DELETE_RETRIES, numbers)
        return letters

    # Scorings, results, alarms and webhooks

    def next_job(self) -> int:
        """Return the next scoring's number; scorings are evaluated in the order of numbers."""
        ((last,),) = self.database.all(results.LAST_JOB, partition=self.partition)
        return as_int(last or 0) + 1

    def add_job(self, pending: PendingScore) -> WaitingScore:
        """Queue a scoring."""
        body = encode(pending)
        self.database.write(results.ADD_JOB, self.partition, pending.number, body)
        return WaitingScore(pending.number, len(body), pending.job.model)

    def job(self, number: int) -> PendingScore:
        """Read a queued scoring."""
        row = self.database.one(results.JOB, partition=self.partition, number=number)
        assert row is not None
        return as_struct(row[0], PendingScore)

    def delete_job(self, number: int) -> None:
        """Delete an evaluated scoring."""
        self.database.do(results.DELETE_JOB, partition=self.partition, number=number)

    def add_result(self, result: Result) -> None:
        """Store one revision of a window's result, and update the version's totals."""
        key = result.model, result.version
        summed = add(closed(self.database, key), result, self.latest(key, result.window))
        self.database.write(results.SAVE_CLOSED, *key, encode(summed))
        self.database.write(
            results.SAVE, *key, result.window.start, result.revision, encode(result)
        )

    def delete_earlier_revisions(self, result: Result) -> None:
        """Delete the revisions of the same window before this result's revision."""
        self.database.do(
            results.DELETE_REVISIONS,
            model=result.model,
            version=result.version,
            start=result.window.start,
            revision=result.revision,
        )

    def delete_results(self, key: Key, until: int) -> int:
        """Delete the results of windows that begin before `until`; return the number deleted."""
        return self.database.do(results.DELETE_BEFORE, **_of(key), until=until)

    def latest(self, key: Key, window: Window) -> Result | None:
        """Read the newest revision of a window's result."""
        row = self.database.one(results.LATEST, **_of(key), start=window.start)
        return None if row is None else as_struct(row[0], Result)

    def rule_states(self, key: Key) -> dict[Rule, RuleState]:
        """Read the stored states of a version's rules."""
        rows = self.database.all(alarms.RULE_STATES, **_of(key))
        return {cast("Rule", rule): as_struct(body, RuleState) for rule, body in rows}

    def save_rule_state(self, key: Key, rule: Rule, state: RuleState) -> None:
        """Store the state of a rule."""
        self.database.write(alarms.SAVE_RULE_STATE, *key, rule, encode(state))

    def alarm(self, alarm_id: str) -> Alarm | None:
        """Read an alarm."""
        row = self.database.one(alarms.ALARM, alarm_id=alarm_id)
        return None if row is None else as_struct(row[0], Alarm)

    def save_alarm(self, alarm: Alarm) -> None:
        """Store a new or changed alarm."""
        # The window's end orders alarms; a counter would depend on the order of scorings.
        self.database.write(alarms.SAVE, alarm.alarm_id, alarm.latest.end, encode(alarm))

    def silences(self) -> list[Silence]:
        """Read every silence, including ended silences."""
        rows = self.database.all(alarms.SILENCES)
        return [as_struct(body, Silence) for (body,) in rows]

    def add_delivery(self, webhook_id: str, body: bytes, created: int) -> None:
        """Add a webhook to the outbox, unless the outbox already has this id."""
        self.database.write(outbox.ADD, webhook_id, body, created, 0, 0, "pending", "")

    def pending_deliveries(self) -> dict[str, bytes]:
        """Read the bodies of webhooks that are still to be sent, by id."""
        rows = self.database.all(outbox.PENDING)
        return {str(webhook_id): as_bytes(body) for webhook_id, body in rows}

    def supersede(self, webhook_id: str) -> None:
        """Stop sending a webhook, because a later webhook replaces it."""
        self.database.write(outbox.SUPERSEDE, webhook_id)

    def deliveries(self) -> list[Delivery]:
        """Read every webhook, newest first."""
        names = outbox.ADD.columns
        return [
            msgspec.convert(dict(zip(names, row, strict=True)), Delivery, strict=False)
            for row in self.database.all(outbox.DELIVERIES)
        ]

    def schedule_progress(self, model: str) -> ScheduleProgress:
        """Read the progress of a model's schedule."""
        row = self.database.one(schedules.OF_MODEL, model=model)
        return ScheduleProgress() if row is None else as_struct(row[0], ScheduleProgress)

    def save_schedule_progress(self, model: str, progress: ScheduleProgress) -> None:
        """Store the progress of a model's schedule."""
        self.database.write(schedules.SAVE, model, encode(progress))

    def retained_period(self, key: Key) -> Window | None:
        """Read the period of a version's closed windows with stored rows; None if there is none."""
        rows = self.database.all(windows.PROGRESS, **_of(key))
        since = as_struct(rows[0][0], VersionProgress).samples_until if rows else 0
        ((first,),) = self.database.all(results.START_AFTER, **_of(key), start=since - 1)
        ((last,),) = self.database.all(results.START_BEFORE, **_of(key), start=END_OF_TIME)
        if first is None or last is None:
            return None
        latest = self.database.one(results.LATEST, **_of(key), start=as_int(last))
        assert latest is not None
        return Window(as_int(first), as_struct(latest[0], Result).window.end)

    def delete_deliveries(self, until: int) -> int:
        """Delete finished webhooks created before `until`; return the number deleted."""
        return self.database.do(outbox.DELETE_BEFORE, until=until)


def _of(key: Key) -> dict[str, object]:
    model, version = key
    return {"model": model, "version": version}
