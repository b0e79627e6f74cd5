"""The events of one prediction are found in any segment of any source."""

from pathlib import Path
from typing import Any

import pytest

from eventlog import log_search
from eventlog.events import FeedbackEvent, PredictionEvent, Tensor
from eventlog.identity import log_identity
from eventlog.log_search import find_prediction
from eventlog.segments import SegmentWriter
from eventlog.settings import LogSettings

ONE_EACH = LogSettings(segment_bytes=1, reserve_bytes=0)


def _predicted(writer: SegmentWriter, prediction_id: str, **fields: Any) -> PredictionEvent:
    return PredictionEvent(
        source=writer.source, epoch=writer.epoch, sequence=writer.next_sequence,
        time=1, received=1, prediction_id=prediction_id, model="taxi", protocol="rest",
        outcome="ok", inputs={"x": Tensor("FP32", [1], [0.5])}, **fields,
    )  # fmt: skip


def _labelled(writer: SegmentWriter, prediction_id: str, received: int = 2) -> FeedbackEvent:
    return FeedbackEvent(
        source=writer.source, epoch=writer.epoch, sequence=writer.next_sequence,
        time=received, received=received, prediction_id=prediction_id, label=1, actor="key:ann",
    )  # fmt: skip


def _write(log: Path, settings: LogSettings = ONE_EACH) -> None:
    log_identity(log)  # a file beside the sources, as services write it
    first = SegmentWriter.claim(log, "here", settings)
    second = SegmentWriter.claim(log, "here", settings)
    for name in ("a-1", "a-10", "a-2"):
        first.append([_predicted(first, name)])
    second.append([_labelled(second, "a-1", received=5)])
    second.append([_labelled(second, "a-1", received=4)])
    first.close()
    second.close()


@pytest.mark.parametrize("chunk", [7, 8 << 20])
def test_exactly_the_events_of_an_id_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(log_search, "CHUNK", chunk)
    _write(tmp_path)
    found = find_prediction(tmp_path, "a-1")
    assert [one.prediction_id for one in found.predictions] == ["a-1"]
    assert found.predictions[0].inputs == {}
    assert [one.received for one in found.labels] == [4, 5]
    assert (found.sources, found.damaged, found.omitted) == (2, 0, 0)
    assert find_prediction(tmp_path, "a-3").predictions == []


def test_the_progress_ends_with_all_bytes(tmp_path: Path) -> None:
    _write(tmp_path)
    seen: list[tuple[int, int]] = []
    found = find_prediction(tmp_path, "a-1", lambda read, size: seen.append((read, size)))
    total = sum(path.stat().st_size for path in tmp_path.glob("*/*.log"))
    assert seen[-1] == (total, total) == (found.size, total)
    assert [read for read, _ in seen] == sorted(read for read, _ in seen)


def test_a_label_of_an_earlier_release_is_joined_by_the_id_without_tag(tmp_path: Path) -> None:
    writer = SegmentWriter.claim(tmp_path, "here", ONE_EACH)
    writer.append([_predicted(writer, "0123456789-own-ab")])
    writer.append([_labelled(writer, "own-ab")])
    writer.close()
    found = find_prediction(tmp_path, "0123456789-own-ab")
    assert (len(found.predictions), len(found.labels)) == (1, 1)


def test_at_most_the_allowed_number_of_events_is_buffered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_search, "MOST_EVENTS", 2)
    _write(tmp_path, LogSettings(reserve_bytes=0))
    found = find_prediction(tmp_path, "a-1")
    assert len(found.predictions) + len(found.labels) == 2
    assert found.omitted == 1


def test_damage_near_the_event_is_counted(tmp_path: Path) -> None:
    _write(tmp_path, LogSettings(reserve_bytes=0))
    (file,) = tmp_path.glob("*-0/*.log")
    data = bytearray(file.read_bytes())
    data[data.index(b"a-10")] ^= 1
    file.write_bytes(data)
    found = find_prediction(tmp_path, "a-1")
    assert [one.prediction_id for one in found.predictions] == ["a-1"]
    assert found.damaged == 1


def test_a_missing_log_has_no_events(tmp_path: Path) -> None:
    found = find_prediction(tmp_path / "none", "a-1")
    assert (found.sources, found.segments, found.predictions) == (0, 0, [])
