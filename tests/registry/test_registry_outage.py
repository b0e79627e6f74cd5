"""A shared registry whose database stops: reads go on from this machine's copy, changes wait."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from registry.errors import RegistryUnavailable
from registry.history import replica
from registry.history.store import History
from tests.postgres_server import PostgresServer, running


@pytest.fixture
def server(free_port: Callable[[], int]) -> Iterator[PostgresServer]:
    """A server of its own, to be stopped."""
    with running(free_port()) as server:
        yield server


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try the server again with every read."""
    monkeypatch.setattr(replica, "_PAUSE_S", 0.0)


def _fill(history: History) -> None:
    history.register("taxi", "1", time=0, actor="ann")
    history.promote("taxi", "champion", "1", time=0, actor="ann")


def test_an_outage_stops_changes_and_no_reader(
    server: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    where, copy = server.schema(), tmp_path / "copy.db"
    history = History(where, copy)
    _fill(history)
    assert history.aliases("taxi") == {"champion": "1"}
    server.stop()
    assert history.aliases("taxi") == {"champion": "1"}
    assert history.revision() == 2
    late = History(where, copy)  # as a worker that starts meanwhile
    assert (late.models(), late.changed(1)) == ({"taxi"}, {"taxi"})
    with pytest.raises(RegistryUnavailable, match=r"registry database 127\.0\.0\.1:\d+"):
        late.promote("taxi", "champion", "2", time=0, actor="bob")
    elsewhere = History(where, tmp_path / "other.db")
    with pytest.raises(RegistryUnavailable):
        elsewhere.revision()
    sentences = [record.message for record in caplog.records if "copy" in record.message]
    assert all(s.endswith("using this machine's copy, revision 2") for s in sentences)

    waits = History(where, copy, wait_s=180)
    change = Thread(target=waits.promote, args=("taxi", "champion", "3"), kwargs=_BY_CYD)
    with caplog.at_level(logging.WARNING):
        change.start()
        server.start()
        change.join(timeout=180)
    for reader in (history, late, elsewhere):
        assert reader.aliases("taxi") == {"champion": "3"}
        assert reader.revision() == 3
    for one in (history, late, elsewhere, waits):
        one.close()


_BY_CYD = {"time": 0, "actor": "cyd"}


def test_a_history_that_the_copy_does_not_continue_is_refused(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    where, copy = postgres.schema(), tmp_path / "copy.db"
    history = History(where, copy)
    _fill(history)
    assert history.revision() == 2
    with psycopg.connect(where) as connection:
        connection.execute("ALTER TABLE history DISABLE TRIGGER USER")
        connection.execute("DELETE FROM history WHERE revision = 2")
    history.promote("taxi", "champion", "7", time=9, actor="eve")
    with pytest.raises(RegistryUnavailable, match=r"rows were changed, or a backup.*copy\.db"):
        history.revision()
    history.close()


def test_a_copy_is_filled_page_by_page_and_by_several_processes(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "_PAGE", 3)
    where = postgres.schema()
    direct = History(where)
    for number in range(10):
        direct.load("taxi", str(number), time=0, actor="")
    readers = [History(where, tmp_path / "copy.db") for _ in range(2)]
    for reader in readers:
        assert list(reader.all_rows()) == list(direct.all_rows())
    direct.load("taxi", "11", time=0, actor="")
    assert [reader.revision() for reader in readers] == [11, 11]
    for one in (direct, *readers):
        one.close()
