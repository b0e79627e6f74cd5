"""PostgreSQL behaviour that differs from SQLite and must stay invisible to users."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from driftline.status import status
from monitoring.errors import DatabaseUnavailable
from monitoring.storage import postgres as postgres_driver
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from monitoring.storage.store import Store
from monitoring.web.app import app
from tests.monitoring.log_in_memory import Monitor, eight_hours, everything
from tests.postgres_server import PostgresServer

CUT = "SELECT pg_terminate_backend(pg_backend_pid())"  # the server ends the connection


def _lose_connection(journal: Journal) -> None:
    with journal.database.transaction():
        journal.count("labels")
        journal.database.all(CUT)


def test_lost_connection_is_reopened_with_the_next_transaction(
    postgres: PostgresServer,
) -> None:
    journal = Journal(Database(postgres.schema()))
    with pytest.raises(DatabaseUnavailable, match="lost"):
        _lose_connection(journal)
    with journal.database.transaction():
        journal.count("labels", 5)
    assert journal.database.all("SELECT value FROM totals") == [(5,)]
    journal.database.close()


def test_connection_with_locks_is_not_reopened(postgres: PostgresServer) -> None:
    where = postgres.schema()
    locking, other = (Database(where, reconnects=False) for _ in range(2))
    assert locking.try_lock("lead")
    assert not other.try_lock("lead")
    for query in (CUT, "SELECT 1"):
        with pytest.raises(DatabaseUnavailable):
            locking.all(query)
    assert other.try_lock("lead")
    other.unlock("lead")
    other.close()


def _freeze_during(
    writing: Database, postgres: PostgresServer, meanwhile: Callable[[], None]
) -> None:
    with writing.transaction():
        Journal(writing).count("labels")
        with postgres.frozen():
            meanwhile()
            writing.all("SELECT 1")


def _expect_unreachable(monitor: Monitor) -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        monitor.drain(20)


def test_server_that_stops_replying_times_out_without_losing_results(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = eight_hours().records
    Monitor(tmp_path / "calm.db", records).drain()
    where = f"{postgres.schema()}&connect_timeout=2"
    arrived = records[:200]
    monitor = Monitor(where, arrived)
    monitor.drain()
    arrived += records[200:]
    writing = Database(where)
    with monkeypatch.context() as patch:
        patch.setattr(postgres_driver.MonitorConnection, "reply_s", 0.5)
        with pytest.raises(DatabaseUnavailable, match=r"lost: no reply within 0\.5 s"):
            _freeze_during(writing, postgres, lambda: _expect_unreachable(monitor))
    monitor.drain()
    assert everything(where) == everything(tmp_path / "calm.db")
    writing.close()
    monitor.database.close()


def test_null_character_in_a_text_is_replaced(
    postgres: PostgresServer,
) -> None:
    where = postgres.schema()
    journal = Journal(Database(where))
    with journal.database.transaction():
        journal.add_dead_letter("s:1:0", "no\x00thing", b"\x00")
    (letter,) = Store(where).dead_letters(1)
    assert (letter.reason, letter.body) == ("no␀thing", b"\x00")
    journal.database.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("postgresql://nobody@127.0.0.1:1/nowhere", "cannot be reached"),
        ("postgresql://a:b:c@?x", "cannot read the database's address"),
    ],
)
def test_unusable_database_address_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, message: str
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    monkeypatch.setenv("DRIFTLINE_MONITOR_DATABASE", address)
    result = CliRunner().invoke(status)
    assert isinstance(result.exception, DatabaseUnavailable)
    assert message in str(result.exception)


def test_page_returns_503_while_the_database_is_unavailable(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    class UnavailableStore:
        def __getattr__(self, name: str) -> Callable[..., object]:
            def ask(*_: object) -> object:
                raise DatabaseUnavailable("the database was lost: gone")

            return ask

    made = app(UnavailableStore, tmp_path)  # type: ignore[arg-type, return-value]
    with TestClient(made, base_url="http://127.0.0.1") as client:
        reported = client.get("/")
        assert reported.status_code == 503
        assert "cannot be reached" in reported.text
        assert client.get("/api/alarms").status_code == 503
