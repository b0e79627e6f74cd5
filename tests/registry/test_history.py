"""The append-only history: what its rows add up to, and how older files are migrated."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest
from msgspec.structs import replace

from registry.errors import IncompatibleRegistry, RegistryUnavailable
from registry.history.rows import FIRST, HistoryRow, next_chain
from registry.history.sqlite import SCHEMA_VERSION
from registry.history.state import DesiredState
from registry.history.store import History
from registry.limits import LimitChange

WITHOUT_KINDS = Path(__file__).parent / "files" / "history_without_kinds.sql"
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


def test_a_row_holds_kind_actor_and_time(history: History) -> None:
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
        earlier={"1", "2"},
    )
    assert history.desired_state("trains", ["1", "2"]) == DesiredState(
        {}, {"2"}, {}, operated={"1": 12, "2": 11}, earlier={"1", "2"}
    )
    assert history.numbers("flights") == {"1", "2"}
    assert history.revision() == 15
    assert history.changed(14) == {"flights"}


def test_a_file_without_kinds_keeps_every_row(older: Path) -> None:
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
    assert History(older).unload("flights", "", time=1, actor="") == 16
    assert History(older).revision() == 16


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


def test_a_migration_that_fails_leaves_the_file_as_it_was(older: Path) -> None:
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
    with pytest.raises(IncompatibleRegistry, match=r"registry\.db: schema version 4.*upgrade"):
        History(path)
    assert path.read_bytes() == before


def test_an_earlier_release_reads_a_migrated_file_but_cannot_open_it(older: Path) -> None:
    with closing(sqlite3.connect(older)) as connection:
        before = connection.execute("SELECT * FROM moves").fetchall()
        History(older)
        assert connection.execute("SELECT * FROM moves").fetchall() == before
        with pytest.raises(sqlite3.OperationalError, match="views may not be indexed"):
            connection.executescript(
                "CREATE TABLE IF NOT EXISTS moves (revision INTEGER);"
                "CREATE INDEX IF NOT EXISTS moves_by_alias ON moves (model, alias, revision);"
            )


def test_a_file_without_a_chain_keeps_its_rows_and_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(WITHOUT_CHAIN.read_text())
        before = connection.execute("SELECT * FROM history").fetchall()
    history = History(path)
    rows = list(history.all_rows())
    assert before == [
        (r.revision, r.model, r.kind, r.alias, r.number, r.time, r.actor, r.detail) for r in rows
    ]
    chain = FIRST
    for row in rows:
        assert row.chain == (chain := next_chain(chain, row))
    assert history.unload("flights", "", time=1, actor="") == 17


def test_a_process_of_an_earlier_release_reads_a_migrated_file_and_cannot_append(
    tmp_path: Path,
) -> None:
    path = tmp_path / "registry.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(WITHOUT_CHAIN.read_text())
        History(path)
        assert connection.execute("SELECT max(revision) FROM history").fetchone() == (16,)
        with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
            connection.execute(
                "INSERT INTO history (model, kind, alias, number, time, actor, detail) "
                "VALUES ('flights', 'loaded', '', '1', 0, '', '')"
            )
