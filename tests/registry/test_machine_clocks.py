"""Machines with wrong clocks on one registry: the database dates every change."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.approvals import Approvals
from registry.errors import VersionRefused
from registry.history import server_clock
from registry.history.lifecycle import alias_at, misdated
from registry.history.rows import ApprovalRule, ReleasePolicy
from registry.history.server_clock import ServerClock
from registry.history.store import History
from registry.rollback import roll_back
from tests.postgres_server import PostgresServer

_HOUR_NS = 3_600_000_000_000
_DAY_NS = 24 * _HOUR_NS
_NEAR_US = 120_000_000  # that a test may take

Shift = Callable[[int], None]


@pytest.fixture
def shift(monkeypatch: pytest.MonkeyPatch) -> Shift:
    """Make the clock of this machine wrong by so many nanoseconds."""
    return lambda by: monkeypatch.setattr(server_clock, "local_ns", lambda: time.time_ns() + by)


@pytest.mark.parametrize("wrong_by", [_HOUR_NS, -_HOUR_NS])
def test_rows_of_machines_with_wrong_clocks_are_in_order(
    postgres: PostgresServer,
    tmp_path: Path,
    shift: Shift,
    caplog: pytest.LogCaptureFixture,
    wrong_by: int,
) -> None:
    where = postgres.schema()
    right = History(where, tmp_path / "right.db")
    for number in ("1", "2"):
        right.register("taxi", number, time=0, actor="ann", digest=f"d{number}")
    _promote(right, "1")
    shift(wrong_by)
    wrong = History(where, tmp_path / "wrong.db")
    _promote(wrong, "2")
    roll_back(wrong, "taxi", "champion", "1", expected_revision=4, actor="bob", why="errors")
    warning = "this machine's clock is 3600 s " + ("ahead of" if wrong_by > 0 else "behind")
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [warning in record.message for record in warnings] == [True], "once"
    shift(0)
    late = History(where, tmp_path / "late.db")
    late.promote("taxi", "challenger", "1", time=late.time_ns() // 1_000, actor="cyd")

    rows = right.rows("taxi")[2:]
    times = [row.time for row in rows]
    assert times == sorted(times)
    assert max(abs(row - time.time_ns() // 1_000) for row in times) < _NEAR_US
    for at in (times[0] - 1, *times):
        champion = alias_at(rows, "champion", at)
        assert misdated(rows, "champion", at) is None
        assert (champion.time if champion else 0) <= at
    for history in (right, wrong, late):
        history.close()


def test_an_expired_approval_does_not_count_on_a_machine_whose_clock_is_behind(
    postgres: PostgresServer, shift: Shift
) -> None:
    where = postgres.schema()
    history = History(where)
    history.register("taxi", "2", time=0, actor="ann", digest="d2")
    rule = ReleasePolicy(approvals={"champion": ApprovalRule(expire_days=30)})
    before = Approvals(history, lambda: time.time_ns() - 31 * _DAY_NS)
    before.set_policy("taxi", rule, actor="rik", why="audit")
    before.request("taxi", "2", "champion", actor="cyd", why="better")
    before.approve("taxi", "2", "champion", actor="bob", why="checked")
    shift(-20 * _DAY_NS)
    behind = History(where)
    with pytest.raises(VersionRefused, match="0 of 1 approvals"):
        _promote(behind, "2")
    with pytest.raises(VersionRefused, match="has expired"):
        Approvals(behind).approve("taxi", "2", "champion", actor="dan", why="checked")
    Approvals(behind).request("taxi", "2", "champion", actor="cyd", why="again")
    elsewhere = Approvals(history, time.time_ns)
    elsewhere.approve("taxi", "2", "champion", actor="bob", why="checked")
    _promote(behind, "2")
    for one in (history, behind):
        one.close()


def _promote(history: History, number: str) -> None:
    now = history.time_ns() // 1_000
    history.promote("taxi", "champion", number, time=now, actor="bob")


@pytest.mark.parametrize(
    ("ahead_ms", "took_ms", "corrected"),
    [(900, 0, False), (-900, 0, False), (1_500, 0, True), (-1_500, 0, True), (1_500, 1_200, False)],
)
def test_a_clock_offset_within_the_measurement_error_is_not_corrected(
    monkeypatch: pytest.MonkeyPatch, ahead_ms: int, took_ms: int, corrected: bool
) -> None:
    now = 10**18
    monkeypatch.setattr(server_clock, "local_ns", lambda: now)
    clock = ServerClock("database")

    def read_us() -> int:
        nonlocal now
        now += took_ms * 1_000_000
        return (10**18 + took_ms * 500_000 + ahead_ms * 1_000_000) // 1_000

    clock.measure(read_us)
    assert (clock.time_ns() - now) // 1_000_000 == (ahead_ms if corrected else 0)
    assert not clock.due
