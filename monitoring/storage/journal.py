"""What the consumer writes, inside one transaction per step."""

from collections.abc import Iterable, Mapping, Sequence

from eventlog.log import Position
from monitoring.alarms.decision import Streak
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
from monitoring.storage.predictions import Key, Predictions
from monitoring.storage.results import closed
from monitoring.storage.rows import PendingScore, QueuedJob, encode
from monitoring.windows.totals import add
from monitoring.windows.watermark import VersionProgress
from monitoring.windows.window_state import WindowState, decode_window


class Journal:
    """The consumer's side of the database; not for use outside a transaction."""

    def __init__(self, database: Database) -> None:
        """Write to `database`."""
        self.database = database
        self.predictions = Predictions(database)

    # What is read when the monitor starts

    def positions(self) -> dict[str, Position]:
        """Where to go on reading each source."""
        found = self.database.all("SELECT source, epoch, sequence FROM positions")
        return {str(source): Position(as_int(epoch), as_int(seq)) for source, epoch, seq in found}

    def ledgers(self) -> dict[str, SourceLedger]:
        """What was seen of each source."""
        found = self.database.all("SELECT source, body FROM ledger")
        return {str(source): as_struct(body, SourceLedger) for source, body in found}

    def version_progress(self) -> dict[Key, VersionProgress]:
        """Every model version under watch."""
        found = self.database.all("SELECT body FROM watches")
        watches = [as_struct(body, VersionProgress) for (body,) in found]
        return {(watch.model, watch.version): watch for watch in watches}

    def windows(self, key: Key) -> dict[int, WindowState]:
        """The windows that may still change, by start."""
        found = self.database.all("SELECT body FROM windows WHERE model = ? AND version = ?", *key)
        states = [decode_window(as_bytes(body)) for (body,) in found]
        return {state.start: state for state in states if state.phase != "expired"}

    def queued_jobs(self) -> list[QueuedJob]:
        """Scorings that were decided on and not concluded, oldest first."""
        found = self.database.all("SELECT number, length(body) FROM jobs ORDER BY number")
        return [QueuedJob(as_int(number), as_int(size)) for number, size in found]

    # Progress

    def save_progress(
        self, positions: Mapping[str, Position], ledgers: Iterable[SourceLedger]
    ) -> None:
        """Keep how far the log has been taken in."""
        self.predictions.reset()
        self.database.many(
            "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT (source) "
            "DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence",
            [(source, at.epoch, at.sequence) for source, at in positions.items()],
        )
        self.database.many(
            "INSERT INTO ledger VALUES (?, ?) "
            "ON CONFLICT (source) DO UPDATE SET body = excluded.body",
            [(ledger.source, encode(ledger)) for ledger in ledgers],
        )

    def count_ingested(self, counts: Mapping[tuple[str, int], int]) -> None:
        """Add events taken in, by source and minute of reception."""
        self.database.many(
            "INSERT INTO monitored VALUES (?, ?, ?) ON CONFLICT (source, minute) "
            "DO UPDATE SET events = monitored.events + excluded.events",
            [(source, minute, events) for (source, minute), events in counts.items()],
        )

    def count_late(self, counts: Mapping[tuple[str, str, int], LateCounts]) -> None:
        """Add what came too late, by model, version and start of its pane."""
        self.database.many(
            "INSERT INTO late VALUES (?, ?, ?, ?, ?) ON CONFLICT (model, version, start) "
            "DO UPDATE SET events = late.events + excluded.events, "
            "rows = late.rows + excluded.rows",
            [(*place, late.events, late.rows) for place, late in counts.items()],
        )

    def compact_late(self, key: Key, until: int) -> None:
        """Of what came too late for panes that begin before, keep only how much it was."""
        old = "model = ? AND version = ? AND start >= 0 AND start < ?"
        self.database.do(
            "INSERT INTO late SELECT model, version, -1, sum(events), sum(rows) FROM late "  # noqa: S608 - ours
            f"WHERE {old} GROUP BY model, version ON CONFLICT (model, version, start) "
            "DO UPDATE SET events = late.events + excluded.events, "
            "rows = late.rows + excluded.rows",
            *key,
            until,
        )
        self.database.do(f"DELETE FROM late WHERE {old}", *key, until)  # noqa: S608 - ours

    def save_version_progress(self, watches: Sequence[tuple[str, str, bytes]]) -> None:
        """Keep encoded watches, by model and version."""
        self.database.many(
            "INSERT INTO watches VALUES (?, ?, ?) "
            "ON CONFLICT (model, version) DO UPDATE SET body = excluded.body",
            watches,
        )

    def save_windows(self, states: Iterable[tuple[Key, WindowState]]) -> None:
        """Keep windows' counts."""
        self.database.many(
            "INSERT INTO windows VALUES (?, ?, ?, ?) "
            "ON CONFLICT (model, version, start) DO UPDATE SET body = excluded.body",
            [(*key, state.start, encode(state.in_order())) for key, state in states],
        )

    def delete_windows(self, places: Sequence[tuple[str, str, int]]) -> None:
        """Drop the counts of windows that cannot change any more, by model, version and start."""
        self.database.many(
            "DELETE FROM windows WHERE model = ? AND version = ? AND start = ?", places
        )

    def count(self, name: str, more: int = 1) -> None:
        """Add to a total."""
        self.database.do(
            "INSERT INTO totals VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = totals.value + excluded.value",
            name,
            more,
        )

    def add_dead_letter(self, origin: str, reason: str, body: bytes) -> None:
        """Put a record aside."""
        self.database.do(
            "INSERT INTO dead_letters "
            "SELECT coalesce(max(number), 0) + 1, ?, ?, ? FROM dead_letters",
            origin,
            reason.replace("\0", "\N{SYMBOL FOR NULL}"),  # PostgreSQL's texts hold none
            body,
        )

    def delete_dead_letters(self, keep: int) -> int:
        """Keep that many, the newest; how many went."""
        return self.database.do(
            "DELETE FROM dead_letters WHERE number <= (SELECT max(number) FROM dead_letters) - ?",
            keep,
        )

    def delete_minutes(self, sources: Iterable[str], until: int) -> None:
        """Forget how many events came in minutes before this one."""
        self.save_horizon("minutes", until)
        self.database.many(
            "DELETE FROM monitored WHERE source = ? AND minute < ?",
            [(source, until) for source in sources],
        )

    def save_horizon(self, name: str, until: int) -> None:
        """What the log received before is let go."""
        self.database.do(
            "INSERT INTO horizons VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET until = excluded.until",
            name,
            until,
        )

    def has_retries(self) -> bool:
        """Whether somebody wants dead letters taken in again."""
        return self.database.one("SELECT number FROM retries LIMIT 1") is not None

    def pop_retries(self) -> list[DeadLetter]:
        """The dead letters that somebody wants taken in again; they are no longer dead."""
        found = self.database.all(
            "SELECT number, origin, reason, body FROM dead_letters "
            "WHERE number IN (SELECT number FROM retries) ORDER BY number"
        )
        self.database.do("DELETE FROM dead_letters WHERE number IN (SELECT number FROM retries)")
        self.database.do("DELETE FROM retries")
        return [
            DeadLetter(as_int(number), str(origin), str(reason), as_bytes(body))
            for number, origin, reason, body in found
        ]

    # Scoring and decisions

    def next_job(self) -> int:
        """A number for the next scoring: they conclude in this order."""
        found = self.database.one("SELECT coalesce(max(number), 0) + 1 FROM jobs")
        assert found is not None
        return as_int(found[0])

    def add_job(self, pending: PendingScore) -> QueuedJob:
        """Decide on a scoring."""
        body = encode(pending)
        self.database.do("INSERT INTO jobs VALUES (?, ?)", pending.number, body)
        return QueuedJob(pending.number, len(body))

    def job(self, number: int) -> PendingScore:
        """A scoring that was decided on."""
        found = self.database.one("SELECT body FROM jobs WHERE number = ?", number)
        assert found is not None
        return as_struct(found[0], PendingScore)

    def delete_job(self, number: int) -> None:
        """A scoring is concluded."""
        self.database.do("DELETE FROM jobs WHERE number = ?", number)

    def add_result(self, result: Result) -> None:
        """Keep one revision of a window's result."""
        key = result.model, result.version
        summed = add(closed(self.database, key), result, self.latest(key, result.window))
        self.database.do(
            "INSERT INTO closed VALUES (?, ?, ?) "
            "ON CONFLICT (model, version) DO UPDATE SET body = excluded.body",
            *key,
            encode(summed),
        )
        self.database.do(
            "INSERT INTO results VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (model, version, start, revision) DO UPDATE SET body = excluded.body",
            *key,
            result.window.start,
            result.revision,
            encode(result),
        )

    def delete_earlier_revisions(self, result: Result) -> None:
        """Keep of a window's results the one that is its last."""
        self.database.do(
            "DELETE FROM results WHERE model = ? AND version = ? AND start = ? AND revision < ?",
            result.model,
            result.version,
            result.window.start,
            result.revision,
        )

    def delete_results(self, key: Key, until: int) -> int:
        """Delete the results of windows that begin before; how many there were."""
        return self.database.do(
            "DELETE FROM results WHERE model = ? AND version = ? AND start < ?", *key, until
        )

    def latest(self, key: Key, window: Window) -> Result | None:
        """The newest revision of a window's result."""
        found = self.database.one(
            "SELECT body FROM results WHERE model = ? AND version = ? AND start = ? "
            "ORDER BY revision DESC LIMIT 1",
            *key,
            window.start,
        )
        return None if found is None else as_struct(found[0], Result)

    def streak(self, key: Key, rule: Rule) -> Streak:
        """How a rule has fared."""
        found = self.database.one(
            "SELECT body FROM streaks WHERE model = ? AND version = ? AND rule = ?", *key, rule
        )
        return Streak() if found is None else as_struct(found[0], Streak)

    def save_streak(self, key: Key, rule: Rule, streak: Streak) -> None:
        """Keep how a rule has fared."""
        self.database.do(
            "INSERT INTO streaks VALUES (?, ?, ?, ?) "
            "ON CONFLICT (model, version, rule) DO UPDATE SET body = excluded.body",
            *key,
            rule,
            encode(streak),
        )

    def alarm(self, alarm_id: str) -> Alarm | None:
        """An alarm as it is now."""
        found = self.database.one("SELECT body FROM alarms WHERE alarm_id = ?", alarm_id)
        return None if found is None else as_struct(found[0], Alarm)

    def save_alarm(self, alarm: Alarm) -> None:
        """Raise an alarm or keep its change."""
        self.database.do(
            "INSERT INTO alarms VALUES (?, (SELECT count(*) FROM alarms), ?) "
            "ON CONFLICT (alarm_id) DO UPDATE SET body = excluded.body",
            alarm.alarm_id,
            encode(alarm),
        )

    def silences(self) -> list[Silence]:
        """Every silence, also those that are over."""
        found = self.database.all("SELECT body FROM silences ORDER BY silence_id")
        return [as_struct(body, Silence) for (body,) in found]

    def add_delivery(self, webhook_id: str, body: bytes, created: int) -> None:
        """Put a webhook into the outbox; one that is there already stays as it is."""
        self.database.do(
            "INSERT INTO outbox VALUES (?, ?, ?, 0, 0, 'pending', '') ON CONFLICT DO NOTHING",
            webhook_id,
            body,
            created,
        )

    def pending_deliveries(self) -> dict[str, bytes]:
        """The webhooks that nobody has received yet and that are still to be sent."""
        found = self.database.all("SELECT webhook_id, body FROM outbox WHERE state = 'pending'")
        return {str(webhook_id): as_bytes(body) for webhook_id, body in found}

    def supersede(self, webhook_id: str) -> None:
        """Send a webhook no more: another says what is to be said."""
        self.database.do(
            "UPDATE outbox SET state = 'superseded' WHERE webhook_id = ? AND state = 'pending'",
            webhook_id,
        )

    def delete_deliveries(self, until: int) -> int:
        """Delete webhooks asked for before that nobody is to get any more; how many there were."""
        return self.database.do(
            "DELETE FROM outbox WHERE state <> 'pending' AND created < ?", until
        )
