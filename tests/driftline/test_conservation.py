"""Under all faults: answered = logged = forwarded = monitored + dead-lettered + reported losses.

Every event is followed by its identity through any history of faults of one home: workers killed
with a torn frame, frames damaged, forwarder and monitor killed between any two statements, the
log removed or an older copy of it restored, and a second host with the same name.
"""

import contextlib
import os
import random
import shutil
from pathlib import Path

import msgspec
import pytest

from eventlog.errors import UnreadableEvent
from eventlog.events import FeedbackEvent
from eventlog.frames import split
from eventlog.layout import segments
from eventlog.log import Position
from eventlog.retention import read_positions
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from monitoring.storage.store import Store
from tests.depth import by_depth
from tests.driftline.test_log_identity import SETTINGS, Site
from tests.eventlog.event_makers import read_all
from tests.eventlog.fake_kafka import FakeKafka
from tests.monitoring.log_in_memory import T0

Place = tuple[str, int, int]  # source, epoch, sequence
CLOCKS = [T0, T0 + 60_000_000, 2**62, 253_402_300_799_000_000]  # receptions, in microseconds
TIMES = [T0, T0, T0, 253_402_300_800_000_000]  # the last is after the year 9999: a dead letter


class History:
    """A home under faults, and where each answered event is by now."""

    def __init__(self, site: Site, copy: Path, chance: random.Random) -> None:
        self.site = site
        self.answered: set[Place] = set()
        self.forwarded_once: set[Place] = set()  # the forwarder's cursor has passed them
        self.monitored: set[Place] = set()
        self.unreadable: set[Place] = set()  # damaged when the monitor read them
        self.gone: set[Place] = set()  # from the log, at any time
        self._chance = chance
        self._copy = copy
        self._serving = False

    def run(self, steps: int) -> None:
        faults = [
            self.answer, self.answer, self.answer, self.kill_worker, self.damage, self.catch_up,
            self.kill_forwarder, self.kill_monitor, self.copy, self.restore, self.remove,
        ]  # fmt: skip
        for _ in range(steps):
            self._chance.choice(faults)()
        self.answer()
        self.kill_worker()
        self.answer()  # a later epoch shows damage at the end of the one before
        self.catch_up()

    def answer(self) -> None:
        if not self._serving:
            self.site.serve()
            self._serving = True
        writer = self.site.writer
        for _ in range(self._chance.randrange(1, 12)):
            event = FeedbackEvent(
                source=writer.source,
                epoch=writer.epoch,
                sequence=writer.next_sequence,
                time=self._chance.choice(TIMES),
                received=self._chance.choice(CLOCKS),
                prediction_id=f"p{len(self.answered)}",
                label=self._chance.choice([1, "other"]),
                row=self._chance.choice([0, -1, 2**31]),
            )
            writer.append([event])
            self.answered.add((event.source, event.epoch, event.sequence))

    def kill_worker(self) -> None:
        """End the worker in the middle of a write."""
        if not self._serving:
            return
        self._serving = False
        path = segments(self.site.home.log / self.site.writer.source)[-1].path
        os.close(self.site.writer._lock)  # noqa: SLF001  # a killed process loses its lock
        with path.open("ab") as file:
            file.write(path.read_bytes()[: self._chance.randrange(60)])

    def damage(self) -> None:
        """Flip a bit in one frame of the newest segment."""
        if not self._serving:
            return
        path = segments(self.site.home.log / self.site.writer.source)[-1].path
        data = bytearray(path.read_bytes())
        frames = list(split(bytes(data), final=False))
        if frames:
            data[self._chance.choice(frames).start + 70] ^= 1
            path.write_bytes(data)

    def catch_up(self) -> None:
        self.site.watch()
        before = self._damaged()
        self.site.catch_up()
        self._note(before)
        self.site.unwatch()

    def kill_forwarder(self) -> None:
        """Kill it after Kafka has its batch, and before the cursor moves."""
        self.site.watch()
        self.site.cursors.advance = lambda _: (_ for _ in ()).throw(SystemExit)  # type: ignore[method-assign]
        with contextlib.suppress(SystemExit):
            self.site.forwarder.step()
        self.site.unwatch()

    def kill_monitor(self) -> None:
        """Kill it at any statement."""
        self.site.watch()
        before = self._damaged()
        self.site.monitor.dies(self._chance.randrange(1, 40), self._chance.choice([2, 15, 60]))
        self._note(before)
        self.site.cursors.close()

    def copy(self) -> None:
        shutil.rmtree(self._copy, ignore_errors=True)
        if self.site.home.log.is_dir():
            shutil.copytree(self.site.home.log, self._copy)

    def restore(self) -> None:
        if self._copy.is_dir():
            self.remove()
            shutil.copytree(self._copy, self.site.home.log)

    def remove(self) -> None:
        if self._serving:
            self.site.writer.close()
            self._serving = False
        # Not as read: damage at the end shows only once a later epoch begins.
        self.gone |= {place for place in self.answered if (self.site.home.log / place[0]).is_dir()}
        shutil.rmtree(self.site.home.log, ignore_errors=True)

    def logged(self) -> set[Place]:
        return {(r.source, r.epoch, r.sequence) for r in read_all(self.site.home.log)}

    def _damaged(self) -> set[Place]:
        return {
            (r.source, r.epoch, r.sequence)
            for r in read_all(self.site.home.log)
            if isinstance(r.event, UnreadableEvent)
        }

    def _note(self, damaged: set[Place]) -> None:
        """Note what the readers have passed by now."""
        logged = self.logged()
        database = Database(self.site.home.monitor)
        seen = Journal(database).positions()
        database.close()
        passed = {p for p in logged if Position(p[1], p[2]) < seen.get(p[0], Position(0, 0))}
        self.unreadable |= passed & damaged - self.monitored
        self.monitored |= passed
        if self.site.home.cursors.exists():
            at = read_positions(self.site.home.cursors)
            self.forwarded_once |= {
                p for p in logged if Position(p[1], p[2]) < at.get(p[0], Position(0, 0))
            }


def _in_kafka(kafka: FakeKafka) -> tuple[set[Place], set[Place]]:
    events, letters = set(), set()
    for message in kafka.held:
        body = msgspec.json.decode(message.value)
        place = body["source"], body["epoch"], body["sequence"]
        (letters if message.topic == SETTINGS.dead_letters else events).add(place)
    return events, letters


@pytest.mark.parametrize("seed", range(by_depth(8, 300)))
def test_every_reply_is_forwarded_and_monitored_or_reported_as_lost(
    tmp_path: Path, seed: int
) -> None:
    chance, kafka, names = random.Random(seed), FakeKafka(), iter(range(1_000_000))
    histories = [
        History(Site(tmp_path / name, kafka, names), tmp_path / f"copy-{name}", chance)
        for name in ("one", "two")
    ]
    for history in histories:
        history.run(chance.randrange(4, 14))
    events, letters = _in_kafka(kafka)
    for history in histories:
        own = {source for source, _, _ in history.answered}
        arrived = {place for place in events | letters if place[0] in own}
        lost = history.answered - arrived
        assert arrived <= history.answered
        assert lost <= history.gone  # removed or replaced before anything had read them
        assert not lost & history.forwarded_once
        missed = history.answered - history.monitored
        assert missed <= history.gone
        assert not history.logged() & (lost | missed)
        store = Store(history.site.home.monitor)
        entries = {one.source: one for one in store.ledger()}
        counts = store.monitored()
        store.close()
        for source in own:
            monitored = {place for place in history.monitored if place[0] == source}
            assert entries[source].events == len(monitored) if monitored else True
            readable = {p for p in monitored if p not in history.unreadable}
            assert sum(counts.get(source, {}).values()) == len(readable)
        found = history.site.ledger()
        assert "not monitored" not in found.output, found.output
        assert "counted by the monitor" not in found.output, found.output
