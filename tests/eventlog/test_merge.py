"""Streams are merged by reception time, and no stream runs ahead of another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.errors import UnreadableEvent
from eventlog.events import FeedbackEvent
from eventlog.log import Record
from eventlog.merge import Merge


def _record(stream: str, sequence: int, received: int) -> Record:
    event = FeedbackEvent(
        source="s",
        epoch=1,
        sequence=sequence,
        time=0,
        received=received,
        prediction_id="p",
        label=1,
    )
    return Record("s", 1, sequence, event, partition=stream)


def _received(records: list[Record]) -> list[int]:
    found = []
    for record in records:
        assert not isinstance(record.event, UnreadableEvent)
        found.append(record.event.received)
    return found


@given(
    st.lists(st.lists(st.integers(0, 50), max_size=12), min_size=1, max_size=5),
    st.integers(1, 7),
    st.data(),
)
def test_records_are_merged_in_the_order_of_reception(
    streams: list[list[int]], limit: int, data: st.DataObject
) -> None:
    unfetched = {
        f"t/{n}": [_record(f"t/{n}", at, received) for at, received in enumerate(sorted(stream))]
        for n, stream in enumerate(streams)
    }
    everything = sorted(received for stream in streams for received in stream)
    merge = Merge()
    for stream in unfetched:
        merge.open(stream)
    taken: list[Record] = []
    while len(taken) < len(everything):
        # Each fetch brings something: drawing none again and again never ends.
        if left := sorted(name for name, records in unfetched.items() if records):
            stream = data.draw(st.sampled_from(left))
            fetched = data.draw(st.integers(1, len(unfetched[stream])))
            merge.add(stream, unfetched[stream][:fetched])
            del unfetched[stream][:fetched]
        ended = {name for name, left in unfetched.items() if not left}
        found = merge.take(limit, ended)
        assert len(found) <= limit
        taken += found
    assert _received(taken) == everything


def test_the_merge_waits_for_a_stream_with_more_records() -> None:
    merge = Merge()
    merge.open("t/0")
    merge.open("t/1")
    merge.add("t/0", [_record("t/0", 0, 5)])
    assert merge.take(10, ended={"t/0"}) == []
    assert len(merge.take(10, ended={"t/0", "t/1"})) == 1


def test_a_stream_that_is_opened_again_drops_its_records() -> None:
    merge = Merge()
    merge.open("t/0")
    merge.add("t/0", [_record("t/0", 0, 5)])
    merge.open("t/0")
    assert merge.buffered("t/0") == 0
    merge.close("t/0")
    assert merge.take(10, ended=set()) == []


def _shuffled_clocks(by: int, wrong: range) -> list[list[Record]]:
    """Return two streams of a record each second; the first one's clock is ahead in `wrong`."""
    one = [
        _record("t/0", second, START + second * SECOND + (by if second in wrong else 0))
        for second in range(300)
    ]
    two = [_record("t/1", second, START + second * SECOND) for second in range(300)]
    return [one, two]


SECOND = 1_000_000
START = 1_372_636_800 * SECOND


@pytest.mark.parametrize("seconds", [1, 8, 12, 59])
def test_records_of_a_wrong_clock_do_not_hold_up_their_stream(seconds: int) -> None:
    merge, ended = Merge(), {"t/0", "t/1"}
    for stream, records in zip(
        sorted(ended), _shuffled_clocks(10**10, range(50, 50 + seconds)), strict=True
    ):
        merge.open(stream)
        merge.add(stream, records)
    taken = merge.take(1_000, ended)
    places = {record.stream: 0 for record in taken}
    for record in taken:
        places[record.stream] += 1
        assert abs(places["t/0"] - places["t/1"]) <= seconds + 1


def test_a_stream_that_was_silent_is_ordered_by_its_reception() -> None:
    merge, ended = Merge(), {"t/0", "t/1"}
    silent = [START, *(START + HOUR + second * SECOND for second in range(100))]
    for stream, times in [("t/0", silent), ("t/1", range(START, START + 2 * HOUR, 60 * SECOND))]:
        merge.open(stream)
        merge.add(stream, [_record(stream, n, time) for n, time in enumerate(times)])
    received = _received(merge.take(1_000, ended))
    assert received == sorted(received)


HOUR = 3_600 * SECOND
