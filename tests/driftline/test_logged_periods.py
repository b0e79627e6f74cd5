"""A period is found without reading earlier events, with the same result as a full read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftline.logged_periods import Period, read_period
from eventlog.events import Event, PredictionEvent
from eventlog.segments import SegmentWriter
from eventlog.settings import LogSettings
from telemetry.clock import DAY


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Requests of model `a` on days 0 to 39, of `b` on days 10 and 11, one a segment."""
    folder = tmp_path_factory.mktemp("periods") / "log"
    writer = SegmentWriter.claim(folder, "host", LogSettings(segment_bytes=1))
    for day in range(40):
        for model in "ab" if day in {10, 11} else "a":
            event = PredictionEvent(
                source=writer.source, epoch=writer.epoch, sequence=writer.next_sequence,
                time=day * DAY + 7, received=day, prediction_id=f"{model}{day}", model=model,
                version="1", protocol="rest", outcome="ok", rows=1,
            )  # fmt: skip
            writer.append([event])
    writer.close()
    return folder


def days_of(log: Path, model: str, period: Period) -> tuple[list[int], int]:
    """Return the days of a model's requests in a period, and how many events were read."""
    read = 0

    def days(events: Iterator[Event]) -> tuple[list[int], int | None]:
        nonlocal read
        requests = []
        for event in events:
            read += 1
            if isinstance(event, PredictionEvent) and event.model == model:
                requests.append(event.time // DAY)
        return requests, max(requests, default=None)

    every = read_period(log, period, days)
    outside = set(period.outside(every)) if every else set()
    return [day for day in every if day not in outside], read


@pytest.mark.parametrize(
    ("model", "period", "days", "most_read"),
    [
        ("a", Period(7), [*range(33, 40)], 7),
        ("a", Period(100), [*range(40)], 42),
        ("a", Period(7, 20, 22), [20, 21, 22], 20),
        ("b", Period(7), [10, 11], 7 + 42 + 42),  # not at the end: read whole, to find the latest
        ("b", Period(7, 11, 30), [11], 31),
        ("b", Period(7, 20, 22), [], 20),
        ("c", Period(7), [], 7 + 42),
    ],
)
def test_a_period_is_found_with_few_earlier_events_read(
    log: Path, model: str, period: Period, days: list[int], most_read: int
) -> None:
    in_period, read = days_of(log, model, period)
    assert in_period == days
    assert read <= most_read


def test_a_log_without_segment_times_is_read_completely(log: Path, tmp_path: Path) -> None:
    copy = tmp_path / "log"
    (copy / "host-0").mkdir(parents=True)
    for path in (log / "host-0").iterdir():
        if path.suffix != ".times":
            (copy / "host-0" / path.name).write_bytes(path.read_bytes())
    assert days_of(copy, "a", Period(7)) == ([*range(33, 40)], 42)


def test_a_log_that_does_not_exist_has_no_days(tmp_path: Path) -> None:
    assert days_of(tmp_path / "none", "a", Period(7)) == ([], 0)
