"""A thousand flipped bits: every intact record is recovered, and the loss is counted exactly."""

import random
from pathlib import Path

from eventlog import frames
from eventlog.errors import UnreadableEvent
from eventlog.layout import segments
from eventlog.segments import SegmentWriter
from eventlog.settings import LogSettings
from tests.eventlog.event_makers import append, read_all

FLIPS = 1000
LEADER_EPOCH = range(12, 16)  # bytes of a frame that nobody reads and no CRC covers


def _write(folder: Path, chance: random.Random) -> int:
    """Two epochs of 4,000 frames in segments of 200 kB; the number of records."""
    written = 0
    for _ in range(2):
        writer = SegmentWriter.claim(folder, "host", LogSettings(segment_bytes=200_000))
        for _ in range(4000):
            append(writer, chance.randrange(1, 6))
        written += writer.next_sequence
        writer.close()
    SegmentWriter.claim(folder, "host").close()  # the next life, to which both epochs are past
    return written


def _flip(path: Path, flips: int, chance: random.Random) -> set[tuple[int, int]]:
    """Flip bits of one segment; epoch and sequence of every record that this destroyed."""
    data = bytearray(path.read_bytes())
    whole = list(frames.split(bytes(data), final=True))
    places = chance.sample(range(len(data)), flips)
    for place in places:
        data[place] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    lost: set[tuple[int, int]] = set()
    for frame in whole:
        assert isinstance(frame, frames.Frame)
        hit = [at - frame.start for at in places if frame.start <= at < frame.end]
        if any(at not in LEADER_EPOCH for at in hit):
            lost |= {(frame.epoch, frame.base + n) for n in range(len(frame.values))}
    return lost


def test_a_thousand_flipped_bits_lose_their_own_frames_and_are_counted_exactly(
    tmp_path: Path,
) -> None:
    chance = random.Random(20)
    written = _write(tmp_path, chance)
    before = {(r.epoch, r.sequence): r.value for r in read_all(tmp_path)}
    files = [one.path for one in segments(tmp_path / "host-0") if one.path.stat().st_size]
    lost: set[tuple[int, int]] = set()
    for path in files:
        lost |= _flip(path, FLIPS // len(files) + 1, chance)
    records = read_all(tmp_path)
    damaged = {(r.epoch, r.sequence) for r in records if isinstance(r.event, UnreadableEvent)}
    intact = {
        (r.epoch, r.sequence): r.value for r in records if not isinstance(r.event, UnreadableEvent)
    }
    print(f"{FLIPS} flips in {written} records: {len(lost)} lost, {len(damaged)} counted")
    assert len(before) == written
    assert damaged == lost
    assert intact == {key: value for key, value in before.items() if key not in lost}
    assert len(records) == written


def test_damage_to_the_last_frames_of_an_epoch_is_counted_to_its_end(tmp_path: Path) -> None:
    writer = SegmentWriter.claim(tmp_path, "host")
    append(writer, 2)
    append(writer, 5)
    writer.close()
    path = segments(tmp_path / "host-0")[0].path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    append(SegmentWriter.claim(tmp_path, "host"), 1)
    damaged = [r.sequence for r in read_all(tmp_path) if isinstance(r.event, UnreadableEvent)]
    assert damaged == [2, 3, 4, 5, 6]
