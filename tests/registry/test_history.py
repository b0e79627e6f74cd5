"""The append-only history: the state from its rows, and migrations of older files."""

import json
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import psycopg
import pytest
from msgspec.structs import replace

from eventlog.process_lock import ProcessLock
from eventlog.settings import Home
from registry.errors import IncompatibleRegistry, RegistryUnavailable
from registry.history.audit import chain_faults
from registry.history.lifecycle import DesiredState
from registry.history.replica import copy_head
from registry.history.rows import FIRST, HistoryRow, next_chain
from registry.history.schema import VERSION_TABLE
from registry.history.sqlite import SCHEMA_VERSION
from registry.history.store import History
from registry.limits import LimitChange
from tests.postgres_server import PostgresServer

WITHOUT_KINDS = Path(__file__).parent / "files" / "history_without_kinds.sql"
WITHOUT_CHAMPIONS = Path(__file__).parent / "files" / "history_without_champions.sql"
WITHOUT_CHAIN = Path(__file__).parent / "files" / "history_without_chain.sql"


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "deep" / "registry.db")


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A registry file without the `kind` column, with two models and 15 rows."""
    path = tmp_path / "registry.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(WITHOUT_KINDS.read_text())
    return path


def test_an_empty_history_is_revision_zero(history: History) -> None:
    assert history.revision() == 0
    assert history.aliases("flights") == {}


def test_an_alias_names_the_version_of_its_latest_promotion(history: History) -> None:
    for number in ("1", "2", "1"):
        history.promote("flights", "champion", number, time=0, actor="")
    history.promote("flights", "challenger", "2", time=0, actor="")
    history.promote("trains", "champion", "9", time=0, actor="")
    assert history.aliases("flights") == {"champion": "1", "challenger": "2"}
    assert history.revision() == 5


def test_a_promotion_of_the_current_version_makes_no_row(history: History) -> None:
    first = history.promote("flights", "champion", "1", time=0, actor="")
    assert history.promote("flights", "champion", "1", time=9, actor="") == first
    assert len(history.rows("flights")) == 1


def test_a_row_has_kind_actor_and_time(history: History) -> None:
    history.register("flights", "1", time=5, actor="ann")
    history.register("flights", "1", time=6, actor="bob")
    history.promote("flights", "champion", "1", time=7, actor="bob")
    rows = [replace(row, chain="") for row in history.rows("flights")]
    assert rows == [
        HistoryRow(1, "flights", "registered", "1", 5, "ann"),
        HistoryRow(2, "flights", "promoted", "1", 7, "bob", "champion"),
    ]
    assert history.numbers("flights") == {"1"}


def test_a_file_without_kinds_gives_the_same_answers(older: Path) -> None:
    history = History(older)
    assert history.desired_state("flights", ["1", "2"]) == DesiredState(
        aliases={"challenger": "2", "champion": "1"},
        unloaded={"1"},
        limits={"2": LimitChange(max_requests=7, max_wait_ms=9)},
        operated={"1": 15, "2": 8},
    )
    assert history.desired_state("trains", ["1", "2"]) == DesiredState(
        {"champion": "1"}, {"2"}, {}, operated={"1": 16, "2": 11}
    )
    assert history.numbers("flights") == {"1", "2"}
    assert history.revision() == 16
    assert history.changed(14) == {"flights", "trains"}


def test_migration_of_a_file_without_kinds_keeps_every_row(older: Path) -> None:
    rows = History(older).rows("flights")
    assert [(row.revision, row.kind, row.alias, row.number) for row in rows] == [
        (1, "registered", "", "1"),
        (2, "promoted", "champion", "1"),
        (3, "limits", "", ""),
        (4, "policy", "", ""),
        (5, "registered", "", "2"),
        (6, "promoted", "challenger", "2"),
        (7, "limits", "", "2"),
        (8, "promoted", "champion", "2"),
        (9, "unloaded", "", "1"),
        (13, "policy", "", "2"),
        (14, "limits", "", "1"),
        (15, "promoted", "champion", "1"),
    ]
    assert (rows[3].time, rows[3].actor) == (1_700_000_240_000_000, "ada")
    assert rows[3].detail == '{"stated":{"alarms":{"min_rows":7}},"why":"quiet nights"}'


def test_a_migrated_file_continues_its_revisions(older: Path) -> None:
    assert History(older).unload("flights", "", time=1, actor="") == 17
    assert History(older).revision() == 17


def test_a_file_without_changeable_limits_is_migrated(older: Path) -> None:
    with closing(sqlite3.connect(older)) as connection:
        connection.execute("ALTER TABLE moves DROP COLUMN detail")
    history = History(older)
    assert history.aliases("flights") == {"challenger": "2", "champion": "1"}
    history.change_limits("flights", "1", LimitChange(max_bytes=5), time=2, actor="")


def test_processes_that_open_a_file_at_once_migrate_it_once(older: Path) -> None:
    together = Barrier(8)

    def open_it(_: int) -> int:
        together.wait()
        return len(History(older).rows("flights"))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(open_it, range(8))) == {12}


def test_a_failed_migration_leaves_the_file_unchanged(older: Path) -> None:
    with closing(sqlite3.connect(older)) as connection:
        connection.execute("CREATE TABLE history (something TEXT)")
        before = list(connection.iterdump())
    with pytest.raises(RegistryUnavailable):
        History(older).revision()
    with closing(sqlite3.connect(older)) as connection:
        assert list(connection.iterdump()) == before


@pytest.mark.parametrize("prepare", [History, lambda path: path.touch()])
def test_a_file_of_a_newer_release_is_refused(
    tmp_path: Path, prepare: Callable[[Path], object]
) -> None:
    path = tmp_path / "registry.db"
    prepare(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(IncompatibleRegistry, match=r"registry\.db: schema version 5.*upgrade"):
        History(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("role", ["service", "monitor"])
def test_no_file_is_migrated_under_a_process_of_an_earlier_release(older: Path, role: str) -> None:
    home = Home(older.parent)
    with ProcessLock(home.lock(role), role):
        ours = home.lock(role).read_bytes()
        earlier = {**json.loads(ours), "release": "0.1.9"}
        for stated in (earlier, {name: earlier[name] for name in earlier if name != "release"}):
            home.lock(role).write_text(json.dumps(stated))
            before = older.read_bytes()
            refusal = (
                rf"a {role} of another release \(pid {os.getpid()}, since .*stop the {role} first"
            )
            with pytest.raises(IncompatibleRegistry, match=refusal):
                History(older)
            assert older.read_bytes() == before
        home.lock(role).write_bytes(ours)
        assert len(History(older).rows("flights")) == 12


def test_an_earlier_release_reads_a_migrated_file_but_cannot_open_it(older: Path) -> None:
    with closing(sqlite3.connect(older)) as connection:
        before = connection.execute("SELECT * FROM moves").fetchall()
        History(older)
        read = "SELECT * FROM moves WHERE revision <= 15"
        assert connection.execute(read).fetchall() == before
        with pytest.raises(sqlite3.OperationalError, match="views may not be indexed"):
            connection.executescript(
                "CREATE TABLE IF NOT EXISTS moves (revision INTEGER);"
                "CREATE INDEX IF NOT EXISTS moves_by_alias ON moves (model, alias, revision);"
            )


def test_migration_adds_a_hash_chain_and_keeps_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(WITHOUT_CHAIN.read_text())
        before = connection.execute("SELECT * FROM history").fetchall()
    history = History(path)
    rows = list(history.all_rows())
    assert before == [
        (r.revision, r.model, r.kind, r.alias, r.number, r.time, r.actor, r.detail)
        for r in rows[:-1]
    ]
    chain = FIRST
    for row in rows:
        assert row.chain == (chain := next_chain(chain, row))
    assert history.unload("flights", "", time=1, actor="") == 18


def test_a_process_of_an_earlier_release_reads_a_migrated_file_and_cannot_append(
    tmp_path: Path,
) -> None:
    path = tmp_path / "registry.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(WITHOUT_CHAIN.read_text())
        History(path)
        assert connection.execute("SELECT max(revision) FROM history").fetchone() == (17,)
        with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
            connection.execute(
                "INSERT INTO history (model, kind, alias, number, time, actor, detail) "
                "VALUES ('flights', 'loaded', '', '1', 0, '', '')"
            )


@pytest.fixture
def unpromoted(tmp_path: Path) -> Path:
    """A registry file of the release before, with models that have no champion."""
    path = tmp_path / "unpromoted.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(WITHOUT_CHAMPIONS.read_text())
    return path


def test_migration_promotes_the_version_that_answered_without_a_champion(unpromoted: Path) -> None:
    history = History(unpromoted)
    assert {model: history.aliases(model) for model in sorted(history.models())} == {
        "barred": {"champion": "1"},
        "first": {"champion": "1"},
        "guarded": {},  # its release policy allows no version yet
        "many": {"champion": "11"},
        "mixed": {"champion": "1"},
        "named": {"champion": "2"},
        "newest": {"champion": "2"},  # version 3 is unloaded
    }
    row = history.rows("first")[-1]
    assert (row.actor, row.evidence) == ("driftline", "migration")
    assert row.why.startswith("it answered requests that name no version")
    assert list(chain_faults(history.all_rows())) == []
    assert History(unpromoted).revision() == history.revision(), "it is done once"


def test_a_copy_of_a_shared_history_gets_no_row_by_a_migration(unpromoted: Path) -> None:
    with closing(sqlite3.connect(unpromoted)) as connection:
        before = connection.execute("SELECT revision, chain FROM history").fetchall()
    assert copy_head(unpromoted) == before[-1]
    with closing(sqlite3.connect(unpromoted)) as connection:
        assert connection.execute("SELECT revision, chain FROM history").fetchall() == before


def test_a_server_records_the_promotions_and_copies_follow_it(
    unpromoted: Path, postgres: PostgresServer, tmp_path: Path
) -> None:
    where, copy = postgres.schema(), tmp_path / "copy.db"
    History(where).close()
    with closing(sqlite3.connect(unpromoted)) as connection, psycopg.connect(where) as server:
        rows = connection.execute("SELECT * FROM history ORDER BY revision").fetchall()
        values = ", ".join(["%s"] * len(rows[0]))
        server.cursor().executemany(f"INSERT INTO history VALUES ({values})".encode(), rows)
        server.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0002'".encode())
    unpromoted.rename(copy)
    shared = History(where, copy)
    assert shared.aliases("newest") == {"champion": "2"}
    assert list(chain_faults(shared.all_rows())) == []
    assert shared.head() == History(where).head()
