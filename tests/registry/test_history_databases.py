"""The contract of the history, on SQLite and on a real PostgreSQL server."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier, Event

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from msgspec.structs import replace
from sqlalchemy import create_engine

from registry.errors import (
    IncompatibleRegistry,
    RegistryConflict,
    RegistryError,
    RegistryUnavailable,
    VersionRefused,
)
from registry.history import sql, statements
from registry.history.database import DatabaseAddress
from registry.history.lifecycle import LifecycleState
from registry.history.rows import (
    FIRST,
    GateResult,
    HistoryRow,
    ReleasePolicy,
    encode_detail,
    next_chain,
)
from registry.history.schema import VERSION_TABLE, metadata
from registry.history.sqlite import SCHEMA_VERSION
from registry.history.store import History
from registry.limits import LimitChange
from tests.postgres_server import PostgresServer
from tests.prepared_statements import refused


@pytest.fixture
def history(where: DatabaseAddress) -> Iterator[History]:
    history = History(where)
    yield history
    history.close()


def _row(kind: str, number: str = "1", **fields: str) -> HistoryRow:
    return HistoryRow(0, "flights", kind, number, 7, "ann", **fields)


def _execute(where: DatabaseAddress, statement: str) -> None:
    if isinstance(where, Path):
        with closing(sqlite3.connect(where)) as connection, connection:
            connection.execute(statement)
    else:
        with psycopg.connect(where) as server:
            server.execute(statement.encode())


def test_rows_are_read_as_they_were_appended(history: History) -> None:
    rows = [
        _row("registered", digest="ab", detail='{"files":{"model.onnx":"cd"}}'),
        _row("gated", digest="ab", evidence="ef", why="naïve → 🛫"),
    ]
    assert history.append("flights", lambda _: rows) == 2
    found = history.rows("flights")
    assert [replace(row, revision=0, chain="") for row in found] == rows
    assert [row.revision for row in found] == [1, 2]
    assert list(history.all_rows()) == found
    assert list(history.all_rows(after=1)) == found[1:]


def test_revisions_have_no_gaps_also_after_a_failed_append(history: History) -> None:
    history.load("flights", "1", time=1, actor="")

    def fail(_: LifecycleState) -> list[HistoryRow]:
        raise RegistryError("no")

    with pytest.raises(RegistryError):
        history.append("flights", fail)
    assert history.load("trains", "1", time=1, actor="") == 2
    assert history.changed(1) == {"trains"}
    assert history.revision() == 2


def test_the_chain_covers_every_row(history: History) -> None:
    history.append("flights", lambda _: [_row("registered"), _row("loaded")])
    history.promote("trains", "champion", "1", time=9, actor="bob")
    chain = FIRST
    for row in history.all_rows():
        chain = next_chain(chain, row)
        assert row.chain == chain
    assert history.head() == (3, chain)


def test_text_that_a_database_cannot_hold_is_replaced(history: History) -> None:
    history.append("flights", lambda _: [replace(_row("loaded"), actor="a\0b", why="\ud800")])
    (row,) = history.rows("flights")
    assert (row.actor, row.why) == ("a\N{SYMBOL FOR NULL}b", "?")
    assert row.chain == next_chain(FIRST, row)


def test_a_conflict_names_the_earlier_writer(history: History) -> None:
    before = history.promote("flights", "champion", "1", time=0, actor="ann")
    history.promote("flights", "champion", "2", time=60_000_000, actor="bob")
    with pytest.raises(
        RegistryConflict,
        match=r"after revision 1: bob promoted champion version 2 first, in revision 2 at 1970",
    ):
        history.promote("flights", "champion", "3", time=0, actor="cyd", expected_revision=before)
    assert history.aliases("flights") == {"champion": "2"}


def test_a_revision_that_the_registry_has_not_reached_is_a_conflict(history: History) -> None:
    history.promote("flights", "champion", "1", time=0, actor="ann")
    for ahead in (2, 10**30):
        with pytest.raises(
            RegistryConflict, match=f"revision {ahead} was expected, but .* latest is 1;"
        ):
            history.promote("flights", "champion", "2", time=0, actor="", expected_revision=ahead)
    history.promote("flights", "champion", "2", time=0, actor="ann", expected_revision=1)


def test_rows_of_other_models_are_not_a_conflict(history: History) -> None:
    before = history.promote("flights", "champion", "1", time=0, actor="ann")
    history.promote("trains", "champion", "2", time=0, actor="bob")
    history.promote("flights", "champion", "2", time=0, actor="ann", expected_revision=before)


def test_exactly_one_of_several_concurrent_writers_succeeds(where: DatabaseAddress) -> None:
    History(where).promote("flights", "champion", "0", time=0, actor="")
    together = Barrier(6)

    def promote(number: int) -> str:
        own = History(where)
        together.wait()
        try:
            own.promote("flights", "champion", str(number), time=0, actor="", expected_revision=1)
        except RegistryConflict:
            return "conflict"
        finally:
            own.close()
        return "promoted"

    with ThreadPoolExecutor(6) as pool:
        outcomes = sorted(pool.map(promote, range(1, 7)))
    assert outcomes == ["conflict"] * 5 + ["promoted"]


def test_readers_see_exactly_one_champion_during_swaps(
    where: DatabaseAddress, history: History
) -> None:
    history.promote("flights", "champion", "1", time=0, actor="")
    ended, other = Event(), History(where)

    def swap() -> None:
        for turn in range(20):
            other.promote("flights", "champion", str(turn % 2 + 1), time=0, actor="")
        ended.set()

    with ThreadPoolExecutor(1) as pool:
        swapped = pool.submit(swap)
        while not ended.is_set():
            assert history.aliases("flights")["champion"] in {"1", "2"}
            if swapped.done():
                break
        swapped.result()
    other.close()


def test_a_row_of_a_newer_release_stops_writers_of_its_model_only(
    where: DatabaseAddress, history: History
) -> None:
    history.promote("flights", "champion", "1", time=0, actor="")
    values = "(2, 'flights', 'quarantined', '1', 0, '', '', '', '', '', '', 'c')"
    _execute(where, f"INSERT INTO history VALUES {values}")
    assert history.aliases("flights") == {"champion": "1"}
    with pytest.raises(IncompatibleRegistry, match="revision 2 is of kind 'quarantined'"):
        history.promote("flights", "champion", "2", time=0, actor="")
    assert history.promote("trains", "champion", "2", time=0, actor="") == 3


@pytest.mark.parametrize("statement", ["DELETE FROM history", "UPDATE history SET number = '2'"])
def test_rows_can_be_neither_deleted_nor_updated(
    where: DatabaseAddress, history: History, statement: str
) -> None:
    history.change_limits("flights", "1", LimitChange(max_bytes=5), time=2, actor="")
    with pytest.raises((sqlite3.IntegrityError, psycopg.errors.RaiseException), match="append-onl"):
        _execute(where, statement)


def test_migrations_produce_the_schema(where: DatabaseAddress, history: History) -> None:
    history.revision()
    if isinstance(where, Path):
        engine = create_engine(f"sqlite:///{where}")
    else:
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(where))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_processes_that_open_an_empty_database_at_once_create_it_once(
    where: DatabaseAddress,
) -> None:
    together = Barrier(4)

    def open_it(_: int) -> int:
        together.wait()
        own = History(where)
        try:
            return own.revision()
        finally:
            own.close()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(open_it, range(4))) == {0}


def test_a_schema_of_a_newer_release_is_refused(postgres: object) -> None:
    where = postgres.schema()  # type: ignore[attr-defined]
    History(where).close()
    _execute(where, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(IncompatibleRegistry, match="9999 is from a newer release"):
        History(where)


def test_a_process_reads_on_and_writes_nothing_after_a_newer_release_migrated(
    history: History, where: DatabaseAddress
) -> None:
    history.load("flights", "1", time=0, actor="ann")
    if isinstance(where, Path):
        _execute(where, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    else:
        _execute(where, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(IncompatibleRegistry, match="migrated it while this process ran"):
        history.unload("flights", "1", time=0, actor="ann")
    assert [row.kind for row in history.rows("flights")] == ["loaded"]


def test_a_closed_connection_is_opened_again(postgres: object) -> None:
    where = postgres.schema()  # type: ignore[attr-defined]
    history = History(where)
    history.load("flights", "1", time=0, actor="")
    _execute(
        where,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'driftline-registry'",
    )
    assert history.revision() == 1
    history.close()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("mysql://here/registry", r"DRIFTLINE_REGISTRY: expected postgresql://.*not mysql"),
        ("postgresql://127.0.0.1:1/registry", r"registry database 127\.0\.0\.1:1: .*refused"),
        ("postgresql://[bad", "DRIFTLINE_REGISTRY cannot be read as an address"),
    ],
)
def test_an_unreachable_address_is_named(address: str, sentence: str) -> None:
    with pytest.raises(RegistryUnavailable, match=sentence):
        History(address).revision()


def test_the_generated_sql_matches_the_statements() -> None:
    assert Path(sql.__file__).read_text() == statements.generate()


def test_postgresql_accepts_every_statement(postgres: PostgresServer) -> None:
    url = postgres.schema()
    History(url).revision()
    assert refused(url, sql.POSTGRESQL) == {}


@pytest.mark.parametrize("edited", [False, True])
def test_a_release_depends_only_on_unchanged_rows(
    where: DatabaseAddress, history: History, *, edited: bool
) -> None:
    policy = encode_detail(ReleasePolicy(gates={"small": {"kind": "size"}}))
    other = replace(_row("registered", digest="zz"), model="other")
    history.append("other", lambda _: [other])
    history.append(
        "flights",
        lambda _: [
            _row("registered", digest="ab"),
            _row("release_policy", "", detail=policy),
            _row("gated", digest="ab", detail=encode_detail(GateResult("failed", 3))),
        ],
    )
    trigger = "update" if isinstance(where, Path) else "change ON history"
    _execute(where, f"DROP TRIGGER history_no_{trigger}")
    detail = encode_detail(GateResult("passed", 3))
    if edited:
        _execute(where, f"UPDATE history SET detail = '{detail}' WHERE kind = 'gated'")
    expected = "was changed after it was written" if edited else "its gates: failed"
    with pytest.raises(VersionRefused, match=expected):
        history.promote("flights", "champion", "1", time=8, actor="ann")
    if not edited:
        history.append("flights", lambda _: [_row("gated", digest="ab", detail=detail)])
        assert history.promote("flights", "champion", "1", time=8, actor="ann") == 6
