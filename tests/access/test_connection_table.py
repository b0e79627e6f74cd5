"""The table of a port's connections: which connection is closed, and which may only probe."""

from typing import Any

import pytest

from access.connection_table import RESERVE, ConnectionLimits, ConnectionTable
from access.open_files import affordable_connections


class Held:
    """A connection that notes what becomes of it."""

    def __init__(self, since: float | None = 0.0, *, proven: bool = False) -> None:
        self.since = since
        self.proven = proven
        self.dropped = False
        self.looks: list[float] = []

    def waits_since(self) -> float | None:
        return self.since

    def check_deadline(self, now: float) -> None:
        self.looks.append(now)

    def drop(self) -> None:
        self.dropped = True


@pytest.fixture
async def table() -> ConnectionTable:
    return ConnectionTable(ConnectionLimits(connections=3))


async def _enter(table: ConnectionTable, *connections: Any) -> list[bool]:
    return [table.enter(one) for one in connections]


async def test_the_unproven_connection_that_waits_longest_is_closed_first(
    table: ConnectionTable,
) -> None:
    held = Held(5.0), Held(2.0), Held(7.0)
    assert await _enter(table, *held, Held(9.0)) == [True] * 4
    assert [one.dropped for one in held] == [False, True, False]
    assert len(table) == 3


async def test_authenticated_connections_and_running_requests_are_not_closed(
    table: ConnectionTable,
) -> None:
    held = Held(1.0, proven=True), Held(None), Held(8.0)
    assert await _enter(table, *held, Held(9.0)) == [True] * 4
    assert [one.dropped for one in held] == [False, False, True]


async def test_a_full_table_admits_only_probes(
    table: ConnectionTable,
) -> None:
    held = [Held(proven=True) for _ in range(3)]
    probes = [Held() for _ in range(RESERVE + 2)]
    assert await _enter(table, *held, *probes) == [True] * 3 + [False] * len(probes)
    assert [one.dropped for one in probes] == [True, True] + [False] * RESERVE
    table.leave(held[0])
    assert await _enter(table, Held()) == [True]


async def test_every_connection_is_checked(table: ConnectionTable) -> None:
    held = [Held(proven=True) for _ in range(5)]
    await _enter(table, *held)
    table.leave(held[1])
    table.sweep(30.0)
    assert [one.looks for one in held] == [[30.0], [], [30.0], [30.0], [30.0]]


@pytest.mark.parametrize(
    ("allowed", "expected"), [(1_000_000, 4_096), (1_024, 432), (300, 70), (64, 16)]
)
def test_connections_leave_open_files_for_the_process(allowed: int, expected: int) -> None:
    assert affordable_connections(4_096, ports=2, allowed=allowed) == expected
