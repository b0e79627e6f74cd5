"""What the consumer reads and writes, inside one transaction per step."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from eventlog.log import Position
from monitoring.alarms.rule_state import RuleState
from monitoring.chains import Chain
from monitoring.results import (
    Alarm,
    DeadLetter,
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
from monitoring.storage.rows import encode
from monitoring.storage.samples import Samples
from monitoring.storage.sql import alarms, dead_letters, outbox, progress, results, windows
from monitoring.windows.totals import add
from monitoring.windows.watermark import VersionProgress
from monitoring.windows.window_state import WindowState, decode_window

MERGED = -1  # start under which late events of earlier panes are counted


class Journal:
    """The consumer's side of the database; not for use outside a transaction."""

    def __init__(self, database: Database) -> None:
        """Write to `database`."""
        self.database = database
        self.predictions = Predictions(database)
        self.samples = Samples(database)

    # What is read when the monitor starts

    def positions(self) -> dict[str, Position]:
        """Read the next position of each source."""
        found = self.database.all(progress.POSITIONS)
        return {str(source): Position(as_int(epoch), as_int(seq)) for source, epoch, seq in found}

    def ledgers(self) -> dict[str, SourceLedger]:
        """Read the ledger of each source."""
        found = self.database.all(progress.LEDGERS)
        return {str(source): as_struct(body, SourceLedger) for source, body in found}

    def chains(self) -> list[Chain]:
        """Read the chain of each shard of each source."""
        return [as_struct(body, Chain) for (body,) in self.database.all(progress.CHAINS)]

    def save_chains(self, chains: Iterable[Chain]) -> None:
        """Store the chains that changed."""
        self.database.many(
            progress.SAVE_CHAIN, [(one.source, one.shard, encode(one)) for one in chains]
        )

    def version_progress(self) -> dict[Key, VersionProgress]:
        """Read the progress of every monitored version."""
        found = self.database.all(windows.WATCHES)
        watches = [as_struct(body, VersionProgress) for (body,) in found]
        return {(watch.model, watch.version): watch for watch in watches}

    def windows(self, key: Key) -> dict[int, WindowState]:
        """Read the windows that may still change, by start."""
        found = self.database.all(windows.WINDOWS, **_of(key))
        states = [decode_window(as_bytes(body)) for (body,) in found]
        return {state.start: state for state in states if state.phase != "expired"}

    def queued_jobs(self) -> list[WaitingScore]:
        """Read the queued scorings, oldest first."""
        found = self.database.all(results.JOB_SIZES)
        return [self._waiting(as_int(number), as_int(size)) for number, size in found]

    def _waiting(self, number: int, size: int) -> WaitingScore:
        found = self.database.one(results.JOB, number=number)
        assert found is not None
        return WaitingScore(number, size, as_struct(found[0], ModelOfPendingScore).job.model)

    def sampled_hashes(self, key: Key, window: Window, tensor: str) -> list[int]:
        """Read the hashes of a window's sampled rows, or of those of a tensor."""
        if tensor:
            return self.samples.hashes(key, tensor, window)
        return self.predictions.sampled_hashes(key, window)

    # Progress

    def save_progress(
        self, positions: Mapping[str, Position], ledgers: Iterable[SourceLedger]
    ) -> None:
        """Store how far the log is ingested."""
        self.predictions.reset()
        self.samples.flush()
        self.database.many(
            progress.SAVE_POSITION,
            [(source, at.epoch, at.sequence) for source, at in positions.items()],
        )
        self.database.many(
            progress.SAVE_LEDGER, [(ledger.source, encode(ledger)) for ledger in ledgers]
        )

    def count_ingested(self, counts: Mapping[tuple[str, int], int]) -> None:
        """Add ingested events, by source and minute of reception."""
        self.database.many(
            progress.COUNT_MINUTE,
            [(source, minute, events) for (source, minute), events in counts.items()],
        )

    def count_late(self, counts: Mapping[tuple[str, str, int], LateCounts]) -> None:
        """Add late events, by model, version and start of their pane."""
        self.database.many(
            windows.COUNT_LATE,
            [(*place, late.events, late.rows) for place, late in counts.items()],
        )

    def compact_late(self, key: Key, until: int) -> None:
        """Merge the counts of late events of panes that begin before `until` into one."""
        old = _of(key) | {"begin": 0, "end": until}
        ((events, count),) = self.database.all(windows.LATE, **old)
        if events is not None:
            self.database.write(windows.COUNT_LATE, *key, MERGED, events, count)
            self.database.do(windows.DELETE_LATE, **old)

    def save_version_progress(self, watches: Sequence[tuple[str, str, bytes]]) -> None:
        """Store the encoded progress of versions, by model and version."""
        self.database.many(windows.SAVE_WATCH, watches)

    def save_windows(self, states: Iterable[tuple[Key, WindowState]]) -> None:
        """Store the counts of windows."""
        self.database.many(
            windows.SAVE_WINDOW,
            [(*key, state.start, encode(state.in_order())) for key, state in states],
        )

    def delete_windows(self, places: Sequence[tuple[str, str, int]]) -> None:
        """Delete the counts of windows that can no longer change, by model, version and start."""
        self.database.many(windows.DELETE_WINDOW, places)

    def count(self, name: str, more: int = 1) -> None:
        """Add to a total."""
        self.database.write(progress.COUNT, name, more)

    def add_dead_letter(self, origin: str, reason: str, body: bytes) -> None:
        """Store a record that could not be ingested."""
        shown = reason.replace("\0", "\N{SYMBOL FOR NULL}")  # PostgreSQL's text holds no null
        self.database.write(dead_letters.ADD, origin, shown, body)

    def delete_dead_letters(self, keep: int) -> int:
        """Delete all but the newest `keep` dead letters; returns how many."""
        return self.database.do(dead_letters.DELETE_OLDEST, keep=keep)

    def delete_minutes(self, sources: Iterable[str], until: int) -> None:
        """Delete the counts of minutes before `until`."""
        self.save_horizon("minutes", until)
        self.database.many(progress.DELETE_MINUTES, [(source, until) for source in sources])

    def save_horizon(self, name: str, until: int) -> None:
        """Store the time of reception before which rows of this kind are deleted."""
        self.database.write(progress.SAVE_HORIZON, name, until)

    def has_retries(self) -> bool:
        """Whether dead letters wait to be ingested again."""
        return self.database.one(dead_letters.ANY_RETRY) is not None

    def pop_retries(self) -> list[DeadLetter]:
        """Read the dead letters that are to be ingested again, and delete them."""
        found = self.database.all(dead_letters.RETRIES)
        self.database.do(dead_letters.DELETE_RETRIED)
        self.database.do(dead_letters.DELETE_RETRIES)
        return [
            DeadLetter(as_int(number), str(origin), str(reason), as_bytes(body))
            for number, origin, reason, body in found
        ]

    # Scoring and decisions

    def next_job(self) -> int:
        """Return the number of the next scoring; scorings are evaluated in this order."""
        ((last,),) = self.database.all(results.LAST_JOB)
        return as_int(last or 0) + 1

    def add_job(self, pending: PendingScore) -> WaitingScore:
        """Queue a scoring."""
        body = encode(pending)
        self.database.write(results.ADD_JOB, pending.number, body)
        return WaitingScore(pending.number, len(body), pending.job.model)

    def job(self, number: int) -> PendingScore:
        """Read a queued scoring."""
        found = self.database.one(results.JOB, number=number)
        assert found is not None
        return as_struct(found[0], PendingScore)

    def delete_job(self, number: int) -> None:
        """Delete a scoring that is evaluated."""
        self.database.do(results.DELETE_JOB, number=number)

    def add_result(self, result: Result) -> None:
        """Store one revision of a window's result."""
        key = result.model, result.version
        summed = add(closed(self.database, key), result, self.latest(key, result.window))
        self.database.write(results.SAVE_CLOSED, *key, encode(summed))
        self.database.write(
            results.SAVE, *key, result.window.start, result.revision, encode(result)
        )

    def delete_earlier_revisions(self, result: Result) -> None:
        """Delete the revisions of a window's result before this one."""
        self.database.do(
            results.DELETE_REVISIONS,
            model=result.model,
            version=result.version,
            start=result.window.start,
            revision=result.revision,
        )

    def delete_results(self, key: Key, until: int) -> int:
        """Delete the results of windows that begin before `until`; returns how many."""
        return self.database.do(results.DELETE_BEFORE, **_of(key), until=until)

    def latest(self, key: Key, window: Window) -> Result | None:
        """Read the newest revision of a window's result."""
        found = self.database.one(results.LATEST, **_of(key), start=window.start)
        return None if found is None else as_struct(found[0], Result)

    def rule_states(self, key: Key) -> dict[Rule, RuleState]:
        """Read the stored states of a version's rules."""
        found = self.database.all(alarms.STREAKS, **_of(key))
        return {cast("Rule", rule): as_struct(body, RuleState) for rule, body in found}

    def save_rule_state(self, key: Key, rule: Rule, state: RuleState) -> None:
        """Store the state of a rule."""
        self.database.write(alarms.SAVE_STREAK, *key, rule, encode(state))

    def alarm(self, alarm_id: str) -> Alarm | None:
        """Read an alarm."""
        found = self.database.one(alarms.ALARM, alarm_id=alarm_id)
        return None if found is None else as_struct(found[0], Alarm)

    def save_alarm(self, alarm: Alarm) -> None:
        """Store a new or changed alarm."""
        ((number,),) = self.database.all(alarms.COUNT)
        self.database.write(alarms.SAVE, alarm.alarm_id, number, encode(alarm))

    def silences(self) -> list[Silence]:
        """Read every silence, ended ones included."""
        found = self.database.all(alarms.SILENCES)
        return [as_struct(body, Silence) for (body,) in found]

    def add_delivery(self, webhook_id: str, body: bytes, created: int) -> None:
        """Add a webhook to the outbox, unless it has one of this id."""
        self.database.write(outbox.ADD, webhook_id, body, created, 0, 0, "pending", "")

    def pending_deliveries(self) -> dict[str, bytes]:
        """Read the bodies of webhooks that are still to be sent, by id."""
        found = self.database.all(outbox.PENDING)
        return {str(webhook_id): as_bytes(body) for webhook_id, body in found}

    def supersede(self, webhook_id: str) -> None:
        """Stop sending a webhook, because a later one replaces it."""
        self.database.write(outbox.SUPERSEDE, webhook_id)

    def delete_deliveries(self, until: int) -> int:
        """Delete webhooks created before `until` that need no further attempt; returns how many."""
        return self.database.do(outbox.DELETE_BEFORE, until=until)


def _of(key: Key) -> dict[str, object]:
    model, version = key
    return {"model": model, "version": version}
