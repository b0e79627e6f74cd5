"""An outage of a shared registry's database: reads use the local copy, changes wait."""

import logging
import re
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Self

import psycopg
import pytest

from driftline.version_summaries import ModelQuery, read_page
from eventlog.settings import Home
from registry.errors import RegistryUnavailable
from registry.history import postgres as postgres_history
from registry.history import replica
from registry.history.store import History
from registry.settings import open_history
from tests.postgres_server import PostgresServer, running


@pytest.fixture
def server(free_port: Callable[[], int]) -> Iterator[PostgresServer]:
    """A server of its own, to be stopped."""
    with running(free_port()) as server:
        yield server


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try the server again with every read."""
    monkeypatch.setattr(replica, "PAUSE_S", 0.0)


def _fill(history: History) -> None:
    history.register("taxi", "1", time=0, actor="ann")
    history.promote("taxi", "champion", "1", time=0, actor="ann")


def test_an_outage_stops_changes_but_not_readers(
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
    (sentence,) = sentences  # though two readers of this process use the copy
    assert sentence.endswith("using this machine's copy, revision 2")

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


def test_the_list_of_models_is_available_during_an_outage(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_REGISTRY", server.schema())
    home = Home(tmp_path)
    _fill(open_history(home))
    listed = read_page(home, ModelQuery())
    assert [version.model for version in listed.versions] == ["taxi"]
    server.stop()
    assert read_page(home, ModelQuery()) == listed


def test_a_server_that_stops_replying_is_given_up(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(f"{postgres.schema()}&connect_timeout=2", tmp_path / "copy.db")
    _fill(history)
    assert history.revision() == 2
    with postgres.frozen(), monkeypatch.context() as patch:
        patch.setattr(postgres_history.ServerConnection, "reply_s", 0.5)
        with pytest.raises(RegistryUnavailable, match=r"registry database .*: connection timeout"):
            history.promote("taxi", "champion", "2", time=0, actor="bob")
        assert history.aliases("taxi") == {"champion": "1"}
    history.promote("taxi", "champion", "2", time=0, actor="bob")
    assert history.aliases("taxi") == {"champion": "2"}
    history.close()


def test_a_change_with_an_unconfirmed_commit_is_applied_once(
    postgres: PostgresServer, free_port: Callable[[], int]
) -> None:
    url = postgres.schema()
    target = int(re.search(r":(\d+)/", url)[1])  # type: ignore[index]
    with _LosesCommit(free_port(), target) as proxy:
        history = History(url.replace(f":{target}/", f":{proxy.port}/"), wait_s=60)
        assert history.load("taxi", "", time=0, actor="ann") == 1
        proxy.armed = True
        assert history.unload("taxi", "", time=0, actor="bob") == 2
        assert not proxy.armed
        history.close()
    direct = History(url)
    assert [row.kind for row in direct.rows("taxi")] == ["loaded", "unloaded"]
    direct.close()


class _LosesCommit:
    """A proxy of a database that, once armed, loses the reply to the next commit."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.armed = False
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", port))
        self._thread = Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            while True:
                for end in select.select([client, server], [], [])[0]:
                    if not (chunk := end.recv(1 << 16)):
                        return
                    (server if end is client else client).sendall(chunk)
                    if self.armed and b"COMMIT" in chunk:
                        server.recv(1 << 16)  # it is done
                        self.armed = False
                        return


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
    monkeypatch.setattr(replica, "PAGE", 3)
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
