"""Several monitors on one database find what one alone finds, whichever of them dies."""

import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from eventlog import wire
from eventlog.errors import UnreadableEvent
from eventlog.log import Gap, Position, Record
from eventlog.merge import StreamOrder
from monitoring.consumer import Consumer
from monitoring.errors import DatabaseUnavailable
from monitoring.evaluation import Evaluation
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.sharing.entries import EntryEncoder
from monitoring.sharing.handed import SharedChunks
from monitoring.sharing.handing import StreamPublisher
from monitoring.sharing.member import Member
from monitoring.sharing.taking import SharedChunkReader
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from tests.monitoring.log_in_memory import (
    HOUR,
    STORY,
    T0,
    FakeScorer,
    History,
    Log,
    Monitor,
    Story,
    _find,
    dying,
    eight_hours,
    everything,
    ticking,
)
from tests.postgres_server import PostgresServer

LIFE = 5  # of the topics
STREAMS = [f"topic/{n}" for n in range(3)]


def _received(records: Sequence[Record]) -> list[Record]:
    """One after the other, so that the order of the story is the order of reception."""
    events = []
    for n, record in enumerate(records):
        event = record.event
        assert not isinstance(event, UnreadableEvent)
        event = replace(event, received=T0 + 10_000 * HOUR + n)
        events.append(replace(record, event=event, value=wire.encode(event)))
    return events


def _partitioned(records: Sequence[Record]) -> dict[str, list[Record]]:
    """A prediction and its labels in one stream."""
    streams: dict[str, list[Record]] = {stream: [] for stream in STREAMS}
    for record in records:
        assert not isinstance(record.event, UnreadableEvent)
        name = getattr(record.event, "prediction_id", "p0")  # heartbeats have none
        number = int(name.lstrip("p") or 0)
        stream = STREAMS[number % len(STREAMS)]
        beyond = Position(LIFE, len(streams[stream]) + 1)
        streams[stream].append(replace(record, partition=stream, beyond=beyond))
    return streams


class Part:
    """The streams that a group gives to one reader; `given` is changed by the test."""

    def __init__(
        self,
        log: dict[str, list[Record]],
        handing: StreamPublisher,
        chance: random.Random,
        story: Story | None,
    ) -> None:
        self.streams = set(log)
        self.given: set[str] = set()
        self._log = log
        self._handing = handing
        self._chance = chance
        self._story = story
        self.next: dict[str, int] = {}
        self.events: list[Gap] = []

    @property
    def ended(self) -> set[str]:
        return {s for s in self.given if self.next.get(s, -1) >= len(self._log[s])}

    def poll(self, limit: int) -> list[Record]:
        for stream in set(self.next) - self.given:
            del self.next[stream]
        found: list[Record] = []
        for stream in sorted(self.given):
            if stream not in self.next:
                if not self._handing.claim(stream):
                    continue
                self.next[stream] = self._handing.positions.get(stream, Position(LIFE, 0)).sequence
            at = self.next[stream]
            part = self._log[stream][at : at + self._chance.randrange(limit)]
            self.next[stream] += len(part)
            found += part
        if self._story is not None:
            self._story.hear(found)
        return found

    def gaps(self) -> list[Gap]:
        events, self.events = self.events, []
        return events


class One:
    """One monitor of several."""

    def __init__(
        self,
        where: str,
        log: dict[str, list[Record]],
        chance: random.Random,
        story: Story | None = None,
    ) -> None:
        """`story` is what becomes of the policy, by what any of them has read."""
        self.database = Database(where, reconnects=False)
        handed = SharedChunks(self.database)
        self.polled: list[int] = []
        handing = StreamPublisher(
            handed, EntryEncoder(_find), self._note, clock=iter(range(1 << 40)).__next__
        )
        self.part = Part(log, handing, chance, story)

        def lead() -> Consumer:
            journal = Journal(self.database)
            policies = ticking(story or History())
            memory = ConsumerState(journal, _find, policies.timeline)
            reader = SharedChunkReader(handed, memory.positions, patience=0)
            evaluation = Evaluation(journal, memory, page="http://page", clock=lambda: 7)
            scorer = FakeScorer()
            return Consumer(
                journal,
                memory,
                reader,
                scorer,
                evaluation,
                before_commit=reader.commit,
                changed_policies=policies.changed,
            )

        self.member = Member(self.database, handing, self.part, lead)

    def _note(self, records: Sequence[Record]) -> None:
        self.polled.append(len(records))

    def dies(self, after: int = 0) -> None:
        """At one of its next statements: in the middle of a step, as a rule."""
        with dying(self.database, after) as living, suppress(SystemExit):
            for _ in range(after):
                self.member.step(20)
        living.close()


def _assign(monitors: Sequence[One]) -> None:
    """As a group does: nobody is asked whether he has stopped reading."""
    for one in monitors:
        one.part.given = set()
    for n, stream in enumerate(STREAMS):
        monitors[n % len(monitors)].part.given.add(stream)


def _drain(monitors: Sequence[One], limit: int = 40) -> None:
    for _ in range(3000):
        for one in monitors:
            one.member.step(limit)
        if any(one.member.drained and not one.member.scoring for one in monitors):
            return
    raise AssertionError("the log was not read to its end")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[object, ...]]]:
    path = tmp_path_factory.mktemp("alone") / "monitor.db"
    parts = _partitioned(_received(eight_hours().records)).values()
    records = sorted(
        (record for part in parts for record in part), key=lambda one: StreamOrder().key([one])
    )
    Monitor(path, records, policies=ticking(Story().known())).drain()
    return everything(path)


@pytest.mark.parametrize("seed", range(8))
def test_members_that_die_and_join_find_what_one_alone_finds(
    postgres: PostgresServer, alone: dict[str, Any], seed: int
) -> None:
    chance, where = random.Random(seed), postgres.schema()
    log = _partitioned(_received(eight_hours().records))
    story = Story()  # the policy changes, too
    monitors = [One(where, log, chance, story) for _ in range(chance.randrange(1, 4))]
    for _ in range(12):
        _assign(monitors)
        for _ in range(chance.randrange(1, 8)):
            for one in monitors:
                one.member.step(chance.choice([3, 20, 60]))
        if chance.random() < 0.6:
            monitors.pop(chance.randrange(len(monitors))).dies(after=chance.randrange(30))
        while len(monitors) < 1 or (len(monitors) < 3 and chance.random() < 0.5):
            monitors.append(One(where, log, chance, story))
        chance.shuffle(monitors)
    _assign(monitors)
    _drain(monitors)
    assert len(story.changes) == len(STORY)
    assert everything(where) == alone
    assert Database(where).all("SELECT * FROM handed") == []


def test_who_lost_a_stream_hands_nothing_of_it_over(postgres: PostgresServer) -> None:
    where = postgres.schema()
    log = _partitioned(_received(eight_hours().records[:60]))
    one, other = (One(where, log, random.Random(n)) for n in range(2))
    one.part.given = {STREAMS[0]}
    one.member.step(5)
    other.part.given = {STREAMS[0]}  # before the first has noticed that it is no longer his
    other.member.step(5)
    assert other.part.next == {}
    one.part.given = set()
    one.member.step(5)
    other.member.step(5)
    assert other.part.next[STREAMS[0]] >= 1
    one.dies()
    with pytest.raises(DatabaseUnavailable):
        one.member.step(5)


def test_nobody_runs_ahead_of_a_stream_that_nobody_reads(postgres: PostgresServer) -> None:
    where = postgres.schema()
    log = _partitioned(_received(eight_hours().records))
    one = One(where, log, random.Random(1))
    one.part.given = set(STREAMS[:2])
    for _ in range(100):
        one.member.step(60)
    database = Database(where)
    assert database.all("SELECT * FROM totals") == []
    assert not one.member.drained
    assert sum(one.polled) == len(log[STREAMS[0]]) + len(log[STREAMS[1]])  # and it says so
    one.part.given = set(STREAMS)
    _drain([one])
    assert database.all("SELECT value FROM totals WHERE name = 'monitored_events'") == [(746,)]


def test_a_gap_is_passed_once_after_what_lies_before_it(postgres: PostgresServer) -> None:
    where = postgres.schema()
    log = Log()
    for n in range(30):
        log.predict(T0 + n, f"p{n}")
    streams = _partitioned(_received(log.records))
    one = One(where, streams, random.Random(2))
    one.part.given = set(STREAMS)
    _drain([one])
    one.part.events = [Gap(STREAMS[0], Position(LIFE, 40), "overrun", 30)]
    one.member.step(5)
    one.dies()
    following = One(where, streams, random.Random(3))
    following.part.given = set(STREAMS)
    _drain([following])
    database = Database(where)
    totals = dict(database.all("SELECT name, value FROM totals"))
    assert (totals["gap_overrun"], totals["passed_over"]) == (1, 30)
    assert totals["monitored_events"] == 30
    at = database.one("SELECT sequence FROM positions WHERE source = :one", one=STREAMS[0])
    assert at == (40,)


def test_what_does_not_fit_the_manifest_is_dead_lettered_as_it_came(
    postgres: PostgresServer,
) -> None:
    where = postgres.schema()
    log = Log()
    log.predict(T0, "p0", inputs={})
    log.predict(T0, "p1", model="other")
    log.predict(T0, "p2", rows=3)
    records = _received(log.records)
    one = One(where, _partitioned(records), random.Random(2))
    one.part.given = set(STREAMS)
    _drain([one])
    letters = Database(where).all("SELECT origin, body FROM dead_letters ORDER BY origin")
    assert letters == [("s-0:1:0", records[0].value), ("s-0:1:1", records[1].value)]
