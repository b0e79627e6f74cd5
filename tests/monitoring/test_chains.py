"""A shard's chain counts its missing records for any order of arrival."""

import random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from eventlog.events import HeartbeatEvent
from monitoring.chains import Chain


def chain() -> Chain:
    return Chain(source="s", shard="abc")


def beat(number: int, next_us: int, epoch: int = 1) -> HeartbeatEvent:
    return HeartbeatEvent(
        source="s", epoch=epoch, sequence=0, time=5, received=5, shard="abc",
        number=number, next_us=next_us,
    )  # fmt: skip


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    st.data(),
)
def test_missing_count_does_not_depend_on_the_order(
    sizes: list[int], chance: random.Random, data: st.DataObject
) -> None:
    """The last record of every epoch has arrived, as a heartbeat ensures."""
    records = [(epoch, number) for epoch, size in enumerate(sizes, 1) for number in range(size)]
    last = {(epoch, size - 1) for epoch, size in enumerate(sizes, 1)}
    missing = {record for record in records if record not in last and data.draw(st.booleans())}
    arrived = [record for record in records if record not in missing]
    in_order, shuffled = chain(), chain()
    for place in arrived:
        in_order.enter(*place)
    assert in_order.missing == len(missing)
    if len(sizes) == 1:
        chance.shuffle(arrived)
        for place in arrived:
            shuffled.enter(*place)
        assert shuffled.missing == len(missing)
    for place in sorted(missing):  # they arrive late
        in_order.enter(*place)
    assert in_order.missing == 0


def test_heartbeat_reveals_that_the_last_events_are_missing() -> None:
    one = chain()
    for number in (0, 1):
        one.enter(1, number)
    one.enter(1, 9)
    one.record_heartbeat(beat(9, 10_000_000))
    assert (one.missing, one.promised, one.ended) == (7, 10_000_005, False)


def test_newest_heartbeat_shows_whether_the_writer_has_ended() -> None:
    one = chain()
    for number, next_us in ((0, 10), (1, 0)):
        one.enter(1, number)
        one.record_heartbeat(beat(number, next_us))
    assert (one.promised, one.ended) == (0, True)
    one.record_heartbeat(beat(0, 10))  # an older heartbeat that arrives later
    assert one.ended
    one.enter(1, 2)
    assert not one.ended
    one.enter(2, 0)
    assert (one.promised, one.ended, one.missing) == (0, False, 0)


def test_refused_labels_count_once_within_each_epoch() -> None:
    one, more = chain(), []
    for number, (epoch, refused) in enumerate([(1, 3), (1, 3), (1, 7), (1, 5), (2, 2), (1, 9)]):
        one.enter(epoch, number)
        more.append(one.record_heartbeat(replace(beat(number, 5, epoch), refused_labels=refused)))
    assert more == [3, 0, 4, 0, 2, 0]
