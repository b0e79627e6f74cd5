"""Heartbeats report a writer's events: soon after traffic, rarely when idle, and at the end."""

from itertools import pairwise
from pathlib import Path

import pytest

from eventlog.events import (
    Event,
    FeedbackEvent,
    HeartbeatEvent,
    PredictionEvent,
    RequestEvent,
)
from eventlog.heartbeats import LONGEST_US, TICK_US, Heartbeats
from eventlog.segments import SegmentWriter
from eventlog.shards import NO_MODEL
from eventlog.stamps import Stamps
from tests.eventlog.event_makers import read_all

MINUTES = 60_000_000


class Worker:
    """A writer and its heartbeats, whose clock is moved by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 1_000 * MINUTES
        self.writer = SegmentWriter.claim(root, "host", clock=lambda: self.now)
        self.heartbeats = Heartbeats(self.writer, lambda: self.now)

    def log(self, *shards: str, kind: type[RequestEvent] = FeedbackEvent) -> None:
        stamps = Stamps(self.writer)
        fields = {"label": 1} if kind is FeedbackEvent else {
            "model": "m", "protocol": "rest", "outcome": "ok"
        }  # fmt: skip
        events: list[Event] = [
            kind(
                source=self.writer.source,
                epoch=self.writer.epoch,
                time=self.now,
                received=self.now,
                prediction_id="p",
                **stamps.take(shard)._asdict(),
                **fields,
            )
            for shard in shards
        ]
        self.writer.append(events)

    def run(self, ticks: int) -> list[int]:
        """How many heartbeats each of so many ticks wrote."""
        written = []
        for _ in range(ticks):
            self.now += TICK_US
            written.append(self.heartbeats.tick())
        return written

    def beats(self) -> list[HeartbeatEvent]:
        return [one.event for one in read_all(self.root) if isinstance(one.event, HeartbeatEvent)]


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


def test_a_shard_has_heartbeats_from_its_first_event_on(worker: Worker) -> None:
    assert worker.run(3) == [0, 0, 0]
    worker.log("abc", "abc", "def", kind=PredictionEvent)
    worker.log("abc")
    assert worker.run(1) == [2]
    first, second = worker.beats()
    assert (first.shard, first.number, first.predictions, first.labels) == ("abc", 3, 2, 1)
    assert (second.shard, second.number, second.predictions, second.labels) == ("def", 1, 1, 0)
    assert first.time == first.received == worker.now


def test_idle_shards_have_heartbeats_at_growing_intervals(worker: Worker) -> None:
    worker.log("abc")
    written = worker.run(60)
    assert written[:15] == [1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert sum(written[-24:]) == 2  # one a minute
    worker.log("abc")
    assert worker.run(2) == [1, 1]


@pytest.mark.untraced
def test_thousands_of_idle_shards_cost_the_log_a_hundred_heartbeats_a_minute(
    worker: Worker,
) -> None:
    worker.log(*(f"{n:03x}" for n in range(2_000)))
    worker.run(12 * 60)
    assert 90 <= sum(worker.run(12 * 60)) / 60 <= 110


def test_every_heartbeat_is_written_by_the_promised_time(worker: Worker) -> None:
    worker.log("abc")
    for busy in (0, 1, 0, 0, 1):
        worker.run(40)
        worker.log(*["abc"] * busy)
    beats = worker.beats()
    for before, after in pairwise(beats):
        assert after.received <= before.received + before.next_us
        assert before.next_us <= LONGEST_US + TICK_US


def test_the_last_heartbeat_states_the_end_of_the_source(worker: Worker) -> None:
    worker.log("abc", "def")
    worker.heartbeats.end()
    assert [(one.shard, one.number, one.next_us) for one in worker.beats()] == [
        ("abc", 1, 0),
        ("def", 1, 0),
    ]


def test_numbers_of_a_shard_have_no_gaps_and_are_unique(worker: Worker) -> None:
    for shards in (["abc", "def"], ["abc"], ["def", "def", "abc"]):
        worker.log(*shards)
        worker.run(3)
    events = [record.event for record in read_all(worker.root)]
    for shard in ("abc", "def"):
        numbers = [one.number for one in events if getattr(one, "shard", "") == shard]
        assert numbers == list(range(len(numbers)))
    again = FeedbackEvent(
        source=worker.writer.source,
        epoch=worker.writer.epoch,
        sequence=worker.writer.next_sequence,
        time=0,
        received=0,
        prediction_id="p",
        label=1,
        shard="abc",
    )
    with pytest.raises(ValueError, match=r"has number 0 of shard abc; expected \d+"):
        worker.writer.append([again])


def test_a_clock_that_is_set_back_silences_no_shard(worker: Worker) -> None:
    worker.log("abc")
    worker.run(20)
    worker.now -= 1_000 * MINUTES
    assert sum(worker.run(30)) >= 2


def test_heartbeats_soon_state_refused_labels_also_of_an_idle_shard(worker: Worker) -> None:
    worker.log("abc")
    worker.run(9)
    worker.heartbeats.refuse_labels("abc", 2)
    worker.heartbeats.refuse_labels("def", 5)
    assert worker.run(1) == [2]
    worker.heartbeats.refuse_labels("def", 1)
    worker.run(1)
    stated = {beat.shard: beat.refused_labels for beat in worker.beats()}
    assert stated == {"abc": 2, "def": 6}


def test_a_heartbeat_states_a_new_head_of_the_history_once(worker: Worker) -> None:
    worker.log("abc")
    worker.run(20)
    worker.heartbeats.follow(7, "c7")
    worker.heartbeats.follow(8, "c8")
    assert worker.heartbeats.tick() == 1
    worker.heartbeats.follow(8, "c8")
    worker.run(20)
    worker.heartbeats.follow(3, "c3")  # an older copy of the history was restored
    worker.heartbeats.tick()
    heads = [beat for beat in worker.beats() if beat.revision]
    assert [(beat.revision, beat.chain) for beat in heads] == [(8, "c8"), (3, "c3")]
    assert {beat.shard for beat in heads} == {NO_MODEL}
    assert all(beat.next_us for beat in heads)
