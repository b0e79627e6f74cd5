"""What everyone but the consumer does with the monitor's database: read it, and tend the outbox.

The page, the metrics and the commands open a Store each; the consumer writes through `journal.py`.
"""

import threading
from collections import Counter
from typing import TYPE_CHECKING, Literal

import msgspec

from monitoring.alarms.decision import Streak
from monitoring.results import (
    Alarm,
    AlarmStep,
    DeadLetter,
    Delivery,
    DisabledReceiver,
    LateCounts,
    Result,
    Silence,
    SourceLedger,
    Window,
)
from monitoring.storage import results as kept
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
from monitoring.windows.grid import END_OF_TIME
from monitoring.windows.totals import ClosedTotals
from monitoring.windows.watermark import VersionProgress
from monitoring.windows.window_state import decode_window, merge_panes, result_of

if TYPE_CHECKING:
    import pandas as pd


class Store:
    """Reads are of committed steps only; usable from several threads."""

    def __init__(self, where: Where) -> None:
        """Open the database, empty if it is not there yet."""
        self._database = Database(where)
        self._one_at_a_time = threading.Lock()

    def watched(self) -> list[tuple[str, str]]:
        """Every (model, version) ever seen."""
        found = self._all("SELECT model, version FROM watches ORDER BY model, version")
        return [(str(model), str(version)) for model, version in found]

    def results(
        self, model: str, version: str, *, last: int = kept.ALL, before: int = END_OF_TIME
    ) -> list[Result]:
        """The newest revision of the `last` windows that begin before a time, oldest first."""
        with self._one_at_a_time:
            return kept.newest(self._database, (model, version), last, before)

    def recent(self, model: str, version: str, last: int) -> list[Result]:
        """The last closed windows, after older ones where something is known of none later."""
        results = self.results(model, version, last=last)
        first = results[0].window.start if results else 0
        older = sorted({s for s in self.closed(model, version).newest.values() if s < first})
        known = (self.result(model, version, start) for start in older)
        return [result for result in known if result is not None] + results

    def closed(self, model: str, version: str) -> ClosedTotals:
        """All closed windows of a version added up."""
        with self._one_at_a_time:
            return kept.closed(self._database, (model, version))

    def neighbours(self, model: str, version: str, start: int) -> tuple[int | None, int | None]:
        """Where the closed windows before and after the one that begins here begin."""
        key = model, version
        ((before,),) = self._all(
            "SELECT max(start) FROM results WHERE model = ? AND version = ? AND start < ?",
            *key, start,
        )  # fmt: skip
        ((after,),) = self._all(
            "SELECT min(start) FROM results WHERE model = ? AND version = ? AND start > ?",
            *key, start,
        )  # fmt: skip
        return as_int_or_none(before), as_int_or_none(after)

    def result(self, model: str, version: str, start: int) -> Result | None:
        """The newest revision of one window's result."""
        found = self._all(
            "SELECT body FROM results WHERE model = ? AND version = ? AND start = ? "
            "ORDER BY revision DESC LIMIT 1",
            model,
            version,
            start,
        )
        return as_struct(found[0][0], Result) if found else None

    def live(self, model: str, version: str) -> list[Result]:
        """The open windows so far: counts only, no scores."""
        found = self._all(
            "SELECT body FROM windows WHERE model = ? AND version = ? ORDER BY start",
            model,
            version,
        )
        states = [decode_window(as_bytes(body)) for (body,) in found]
        opened = merge_panes([state for state in states if state.takes_events])
        return [result_of(model, version, state, sampled=0) for state in opened]

    def late(self, model: str, version: str, window: Window | None = None) -> LateCounts:
        """What came too late for this window, or for any."""
        begin, end = (-1, END_OF_TIME) if window is None else (window.start, window.end)
        (told,) = self._all(
            "SELECT CAST(sum(events) AS BIGINT), CAST(sum(rows) AS BIGINT) FROM late "
            "WHERE model = ? AND version = ? AND start >= ? AND start < ?",
            model,
            version,
            begin,
            end,
        )
        return LateCounts(as_int(told[0] or 0), as_int(told[1] or 0))

    def alarms(self) -> list[Alarm]:
        """Every alarm, newest first."""
        found = self._all("SELECT body FROM alarms ORDER BY number DESC")
        return [as_struct(body, Alarm) for (body,) in found]

    def acknowledge(self, alarm_id: str, step: AlarmStep) -> bool:
        """Note that a person has seen the alarm; False where there is no firing one of this id."""
        with self._one_at_a_time, self._database.transaction():
            return self._take(alarm_id, step, {"firing"}) is not None

    def resolve(self, alarm_id: str, step: AlarmStep) -> bool:
        """End an alarm by hand; its rule begins anew. False where no open one has this id."""
        with self._one_at_a_time, self._database.transaction():
            alarm = self._take(alarm_id, step, {"firing", "acknowledged"})
            if alarm is None:
                return False
            body = rows.encode(Streak())
            self._database.do(
                "UPDATE streaks SET body = ? WHERE model = ? AND version = ? AND rule = ?",
                body, alarm.model, alarm.version, alarm.rule,
            )  # fmt: skip
        return True

    def silences(self) -> list[Silence]:
        """Every silence, also those that are over."""
        found = self._all("SELECT body FROM silences ORDER BY silence_id")
        return [as_struct(body, Silence) for (body,) in found]

    def silence(self, silence: Silence) -> None:
        """Keep a silence."""
        with self._one_at_a_time, self._database.transaction():
            self._database.do(
                "INSERT INTO silences VALUES (?, ?)", silence.silence_id, rows.encode(silence)
            )

    def unsilence(self, silence_id: str, now: int) -> bool:
        """End a silence now; False where none of this id holds."""
        with self._one_at_a_time, self._database.transaction():
            found = self._database.one("SELECT body FROM silences WHERE silence_id = ?", silence_id)
            if found is None or (held := as_struct(found[0], Silence)).until <= now:
                return False
            body = rows.encode(msgspec.structs.replace(held, until=now))
            self._database.do("UPDATE silences SET body = ? WHERE silence_id = ?", body, silence_id)
        return True

    def _take(self, alarm_id: str, step: AlarmStep, states: set[str]) -> Alarm | None:
        """Keep a person's step about an alarm in one of these states; part of a transaction."""
        found = self._database.one("SELECT body FROM alarms WHERE alarm_id = ?", alarm_id)
        if found is None or (alarm := as_struct(found[0], Alarm)).state not in states:
            return None
        state: Literal["acknowledged", "resolved"]
        state = "resolved" if step.deed == "resolved" else "acknowledged"
        after = msgspec.structs.replace(alarm, state=state, steps=[*alarm.steps, step])
        body = rows.encode(after)
        self._database.do("UPDATE alarms SET body = ? WHERE alarm_id = ?", body, alarm_id)
        return after

    def ledger(self) -> list[SourceLedger]:
        """What was seen of each source of the log."""
        found = self._all("SELECT body FROM ledger ORDER BY source")
        return [as_struct(body, SourceLedger) for (body,) in found]

    def monitored(self) -> dict[str, Counter[int]]:
        """Events taken in, by source and minute of reception."""
        counts: dict[str, Counter[int]] = {}
        for source, minute, events in self._all("SELECT source, minute, events FROM monitored"):
            counts.setdefault(str(source), Counter())[as_int(minute)] = as_int(events)
        return counts

    def monitored_since(self) -> int:
        """The first minute of which `monitored` still has the counts."""
        found = self._all("SELECT until FROM horizons WHERE name = 'minutes'")
        return as_int(found[0][0]) if found else 0

    def totals(self) -> dict[str, int]:
        """Named counters over everything monitored."""
        found = self._all("SELECT name, value FROM totals")
        (unknown,) = self._all(
            "SELECT count(*) FROM early_labels WHERE received >= "
            "coalesce((SELECT until FROM horizons WHERE name = 'early_labels'), 0)"
        )
        (letters,) = self._all("SELECT count(*) FROM dead_letters")
        (scorings,) = self._all("SELECT count(*) FROM jobs")
        return {str(name): as_int(value) for name, value in found} | {
            "unknown_labels": as_int(unknown[0]),
            "dead_letters": as_int(letters[0]),
            "waiting_scores": as_int(scorings[0]),
        }

    def rows(self, model: str, version: str, window: Window) -> "pd.DataFrame":
        """The window's sampled rows: features, prediction, probabilities and label (or None).

        Empty where retention has let go of them.
        """
        import pandas as pd  # noqa: PLC0415 - the terminal's commands have no use for it

        (told,) = self._all(
            "SELECT body FROM watches WHERE model = ? AND version = ?", model, version
        )
        watch = as_struct(told[0], VersionProgress)
        found = self._all(
            "SELECT body, label FROM predictions "
            "WHERE model = ? AND version = ? AND start >= ? AND start < ? AND body IS NOT NULL "
            "ORDER BY hash",
            model,
            version,
            window.start,
            window.end,
        )
        if window.start < watch.samples_until:
            found = []  # deleted, or about to be
        bodies = [as_bytes(body) for body, _ in found]
        labels = [as_bytes_or_none(label) for _, label in found]
        table = rows.by_column(watch.columns, bodies, labels)
        return pd.DataFrame({name: rows.numbers_again(column) for name, column in table.items()})

    def due(self, now: int) -> list[Delivery]:
        """Pending webhooks whose next attempt is not after `now`, oldest first."""
        return self._deliveries(
            "WHERE state = 'pending' AND next_attempt <= ? ORDER BY created", now
        )

    def deliveries(self) -> list[Delivery]:
        """Every webhook, newest first."""
        return self._deliveries("ORDER BY created DESC")

    def delivered(self, webhook_id: str) -> None:
        """Note that the receiver has it."""
        self._do(
            "UPDATE outbox SET state = 'delivered', attempts = attempts + 1, last_error = '' "
            "WHERE webhook_id = ?",
            webhook_id,
        )

    def failed(self, webhook_id: str, error: str, next_attempt: int | None) -> None:
        """Note a failed attempt and when to try again; None: never."""
        state = "dead" if next_attempt is None else "pending"
        self._do(
            "UPDATE outbox SET state = ?, attempts = attempts + 1, last_error = ?, "
            "next_attempt = ? WHERE webhook_id = ? AND state = 'pending'",
            state,
            error,
            next_attempt or 0,
            webhook_id,
        )

    def revive(self, webhook_id: str, now: int) -> bool:
        """Make a dead webhook due again, with all its attempts before it; whether it was dead."""
        with self._one_at_a_time, self._database.transaction():
            (dead,) = self._database.all(
                "SELECT count(*) FROM outbox WHERE webhook_id = ? AND state = 'dead'", webhook_id
            )
            self._database.do(
                "UPDATE outbox SET state = 'pending', attempts = 0, next_attempt = ? "
                "WHERE webhook_id = ? AND state = 'dead'",
                now,
                webhook_id,
            )
        return bool(dead[0])

    def disable(self, disabled: DisabledReceiver) -> None:
        """Send nothing more to a receiver, for as long as nobody enables it."""
        self._do(
            "INSERT INTO disabled_receivers VALUES (?, ?) ON CONFLICT DO NOTHING",
            disabled.receiver,
            rows.encode(disabled),
        )

    def disabled(self) -> list[DisabledReceiver]:
        """The receivers that nothing is sent to."""
        found = self._all("SELECT body FROM disabled_receivers ORDER BY receiver")
        return [as_struct(body, DisabledReceiver) for (body,) in found]

    def enable(self) -> list[DisabledReceiver]:
        """Send to every receiver again; those that were disabled."""
        before = self.disabled()
        for one in before:
            self._do("DELETE FROM disabled_receivers WHERE receiver = ?", one.receiver)
        return before

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        """What could not be taken in, the newest first."""
        found = self._all(
            "SELECT number, origin, reason, body FROM dead_letters ORDER BY number DESC LIMIT ?",
            limit,
        )
        return [
            DeadLetter(as_int(number), str(origin), str(reason), as_bytes(body))
            for number, origin, reason, body in found
        ]

    def retry(self, number: int) -> bool:
        """Have the monitor take in a dead letter again; False where there is none to take in."""
        with self._one_at_a_time, self._database.transaction():
            found = self._database.one("SELECT body FROM dead_letters WHERE number = ?", number)
            if found is None or not as_bytes(found[0]):
                return False
            self._database.do("INSERT INTO retries VALUES (?) ON CONFLICT DO NOTHING", number)
        return True

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _deliveries(self, condition: str, *values: object) -> list[Delivery]:
        names = "webhook_id, body, created, attempts, next_attempt, state, last_error"
        found = self._all(f"SELECT {names} FROM outbox {condition}", *values)  # noqa: S608 - ours
        keys = names.split(", ")
        return [
            msgspec.convert(dict(zip(keys, row, strict=True)), Delivery, strict=False)
            for row in found
        ]

    def _all(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with self._one_at_a_time:
            return self._database.all(statement, *values)

    def _do(self, statement: str, *values: object) -> None:
        with self._one_at_a_time, self._database.transaction():
            self._database.do(statement, *values)
