"""The monitor publishes its committed positions periodically and at its end."""

from pathlib import Path

from eventlog.log import Position
from eventlog.retention import read_positions
from monitoring.log_retention import PositionPublisher


def test_positions_are_written_every_few_seconds_and_at_the_end(tmp_path: Path) -> None:
    now, positions = [0.0], {"a": Position(1, 1)}
    path = tmp_path / "consumed.json"
    publisher = PositionPublisher(path, lambda: positions, clock=lambda: now[0])
    stopping = [False]
    wait = publisher.with_publishing(lambda _: stopping[0])
    assert not wait(0)
    assert read_positions(path) == {"a": Position(1, 1)}
    positions["a"] = Position(1, 9)
    assert not wait(0)
    assert read_positions(path) == {"a": Position(1, 1)}
    now[0] = 5.0
    assert not wait(0)
    assert read_positions(path) == {"a": Position(1, 9)}
    positions["a"] = Position(2, 0)
    stopping[0] = True
    assert wait(0)
    assert read_positions(path) == {"a": Position(2, 0)}
