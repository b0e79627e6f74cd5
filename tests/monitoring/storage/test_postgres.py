"""What PostgreSQL does otherwise than SQLite, and nobody shall notice."""

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


def _loses(journal: Journal) -> None:
    with journal.database.transaction():
        journal.count("labels")
        journal.database.all(CUT)


def test_a_lost_connection_is_made_again_with_the_next_transaction(
    postgres: PostgresServer,
) -> None:
    journal = Journal(Database(postgres.schema()))
    with pytest.raises(DatabaseUnavailable, match="lost"):
        _loses(journal)
    with journal.database.transaction():
        journal.count("labels", 5)
    assert journal.database.all("SELECT value FROM totals") == [(5,)]
    journal.database.close()


def test_a_connection_that_held_locks_is_not_made_again(postgres: PostgresServer) -> None:
    where = postgres.schema()
    holding, other = (Database(where, reconnects=False) for _ in range(2))
    assert holding.try_lock("lead")
    assert not other.try_lock("lead")
    for asked in (CUT, "SELECT 1"):
        with pytest.raises(DatabaseUnavailable):
            holding.all(asked)
    assert other.try_lock("lead")
    other.unlock("lead")
    other.close()


def _freezes(writing: Database, postgres: PostgresServer, meanwhile: Callable[[], None]) -> None:
    with writing.transaction():
        Journal(writing).count("labels")
        with postgres.frozen():
            meanwhile()
            writing.all("SELECT 1")


def _cannot_drain(monitor: Monitor) -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        monitor.drain(20)


def test_a_server_that_stops_replying_is_given_up_and_no_result_is_lost(
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
            _freezes(writing, postgres, lambda: _cannot_drain(monitor))
    monitor.drain()
    assert everything(where) == everything(tmp_path / "calm.db")
    writing.close()
    monitor.database.close()


def test_a_text_with_the_one_character_that_postgresql_cannot_hold(
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
    ("address", "said"),
    [
        ("postgresql://nobody@127.0.0.1:1/nowhere", "cannot be reached"),
        ("postgresql://a:b:c@?x", "cannot read the database's address"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    monkeypatch.setenv("DRIFTLINE_MONITOR_DATABASE", address)
    result = CliRunner().invoke(status)
    assert isinstance(result.exception, DatabaseUnavailable)
    assert said in str(result.exception)


def test_the_page_says_503_while_the_database_is_away(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    class Away:
        def __getattr__(self, name: str) -> Callable[..., object]:
            def ask(*_: object) -> object:
                raise DatabaseUnavailable("the database was lost: gone")

            return ask

    made = app(Away, tmp_path)  # type: ignore[arg-type, return-value]
    with TestClient(made, base_url="http://127.0.0.1") as client:
        reported = client.get("/")
        assert reported.status_code == 503
        assert "cannot be reached" in reported.text
        assert client.get("/api/alarms").status_code == 503
