"""A wall clock that is wrong for seconds is ignored; a permanently moved clock is followed."""

import logging

import pytest

from telemetry.steady_clock import SteadyClock

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND


class Machine:
    """A machine whose wall clock can be set."""

    def __init__(self) -> None:
        self.elapsed = 1_000 * SECOND
        self.moved = 0
        self.departures = 0
        self.clock = SteadyClock(lambda: self.true + self.moved, lambda: self.elapsed, self._count)

    @property
    def true(self) -> int:
        return NOW + self.elapsed

    def _count(self) -> None:
        self.departures += 1

    def run(self, seconds: int, *, drift: int = 0) -> list[int]:
        """Read the clock once a second; returns by how much it was wrong."""
        wrong = []
        for _ in range(seconds):
            self.elapsed += SECOND
            self.moved += drift
            wrong.append(self.clock() - self.true)
        return wrong


@pytest.mark.parametrize(
    ("moved", "seconds"), [(3 * 3600, 12), (30 * 86_400, 8), (-3600, 30), (6, 59)]
)
def test_a_clock_that_is_wrong_for_seconds_is_ignored(moved: int, seconds: int) -> None:
    machine = Machine()
    machine.run(5)
    machine.moved = moved * SECOND
    assert set(machine.run(seconds)) == {0}
    assert machine.departures == 1, "reported at once, and once"
    machine.moved = 0
    assert set(machine.run(100)) == {0}


def test_a_permanently_moved_clock_is_followed_after_a_minute() -> None:
    machine = Machine()
    machine.moved = 3600 * SECOND
    wrong = machine.run(120)
    assert wrong[:60] == [0] * 60
    assert wrong[61:] == [3600 * SECOND] * 59


def test_a_clock_that_moves_again_restarts_the_minute() -> None:
    machine = Machine()
    machine.moved = 3600 * SECOND
    machine.run(40)
    machine.moved = 7200 * SECOND
    assert set(machine.run(40)) == {0}


def test_slow_corrections_are_followed_at_once() -> None:
    machine = Machine()
    wrong = machine.run(1000, drift=SECOND // 10)
    assert wrong == [n * SECOND // 10 for n in range(1, 1001)]


def test_a_move_is_logged_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = Machine()
    machine.moved = -3600 * SECOND
    with caplog.at_level(logging.WARNING):
        machine.run(10)
        machine.moved = 0
        machine.run(10)
    moved, back = [record.getMessage() for record in caplog.records]
    assert moved.startswith("the system's clock jumped by -3600 seconds")
    assert back == "the system's clock is back at its former time"
