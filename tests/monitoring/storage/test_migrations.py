"""Databases of earlier releases are migrated; databases of newer releases are refused."""

import random
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from msgspec.structs import replace
from sqlalchemy import create_engine, text

import monitoring.storage.migrations
from monitoring.errors import NewerDatabase
from monitoring.results import Result, Score, Window
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.journal import Journal
from monitoring.storage.migrations import VERSION_TABLE
from monitoring.storage.rows import EarlyLabel, StoredRow
from monitoring.storage.schema import REVISION, metadata
from monitoring.storage.store import Store
from tests.monitoring.log_in_memory import HOUR, T0, Log, Monitor, everything

pytestmark = pytest.mark.untraced

# Dumps of databases into which the last release without migrations ingested `_log(72)`; a silence,
# a disabled receiver and a retry of the dead letter were added.
BEFORE = Path(__file__).parent / "before_migrations"


def _log(predictions: int) -> Log:
    log = Log()
    for n in range(72):
        _predict(log, n)
    log.tell("not yet", 1)
    log.damage()
    log.predict(T0, "late")
    for n in range(72, predictions):
        _predict(log, n)
    log.predict(T0 + 8 * HOUR, "not yet")
    return log


def _predict(log: Log, n: int) -> None:
    log.predict(T0 + n * HOUR // 12, f"p{n}")
    if n >= 12 and n % 2:
        log.tell(f"p{n - 12}", n % 3 % 2)


@pytest.fixture
def earlier(where: DatabaseAddress) -> DatabaseAddress:
    """A database of the last release without migrations."""
    if isinstance(where, Path):
        connection = sqlite3.connect(where)
        connection.executescript((BEFORE / "sqlite.sql").read_text())
        connection.close()
        return where
    with psycopg.connect(where) as server:
        server.execute((BEFORE / "postgresql.sql").read_bytes())
    return where


def _differences(where: DatabaseAddress) -> list[str]:
    """Return the differences between the database and `schema`."""
    if isinstance(where, Path):
        engine = create_engine(f"sqlite:///{where}")
    else:
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(where))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        changes = list(compare_metadata(context, metadata))
    engine.dispose()
    # SQLite files of earlier releases allow null in key columns.
    texts = [re.sub(r" at 0x\w+", "", repr(change)) for change in changes]
    return sorted(text for text in texts if "modify_nullable" not in text)


def test_probability_scores_are_renamed_if_a_feature_has_that_name(
    where: DatabaseAddress,
) -> None:
    drift = Score(name="drift", column="probability", value=0.25)
    other = Score(name="missing_share", column="probability", value=0.0)
    twice = _result("both", [drift, other, replace(drift, value=0.5)])
    newest = replace(_result("both", [drift]), window=Window(T0 + HOUR, T0 + 2 * HOUR))
    empty = replace(newest, window=Window(T0 + 2 * HOUR, T0 + 3 * HOUR), scores=[])
    once = _result("ordinary", [drift, other])
    journal = Journal(Database(where))
    with journal.database.transaction():
        for result in (twice, newest, empty, once):
            journal.add_result(result)
        journal.database.do(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
    journal.database.close()
    store = Store(where)
    assert store.results("ordinary", "1") == [once]
    own = replace(drift, column="@probability", value=0.5)
    renamed = replace(twice, scores=[drift, other, own])
    assert store.results("both", "1") == [renamed, newest, empty]
    store.close()


def _result(model: str, scores: list[Score]) -> Result:
    return Result(model=model, version="1", window=Window(T0, T0 + HOUR), scores=scores)


def test_migrations_produce_the_schema(where: DatabaseAddress) -> None:
    Database(where).close()
    assert _differences(where) == []


def test_the_newest_migration_is_the_revision_of_the_schema() -> None:
    config = Config()
    folder = Path(monitoring.storage.migrations.__file__).parent
    config.set_main_option("script_location", str(folder))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


def test_database_without_migrations_gets_the_schema_and_keeps_its_rows(
    earlier: DatabaseAddress,
) -> None:
    store = Store(earlier)
    assert _differences(earlier) == []
    assert [alarm.state for alarm in store.alarms()] == ["firing"]
    assert [silence.reason for silence in store.silences()] == ["a sale"]
    assert [one.receiver for one in store.disabled()] == ["x"]
    assert store.totals()["monitored_events"] == 105
    (result, *_) = store.results("tiny", "1")
    assert len(store.rows("tiny", "1", result.window)) == result.rows == 12
    store.close()
    Store(earlier).close()


def test_ingestion_continues_in_a_database_without_migrations(
    earlier: DatabaseAddress, tmp_path: Path
) -> None:
    records = _log(100).records
    database = Database(earlier)
    with database.transaction():  # no log contains these
        for table in ("silences", "disabled_receivers", "retries"):
            database.do(f"DELETE FROM {table}")
    database.close()
    Monitor(earlier, records, random.Random(2)).drain()
    Monitor(tmp_path / "new.db", records, random.Random(3)).drain()
    continued, fresh = everything(earlier), everything(tmp_path / "new.db")
    for table in ("totals", "dead_letters", "positions"):
        assert continued[table] == fresh[table]
    # The earlier release closed windows sooner, so labels belong to other revisions.
    assert _counted(earlier) == _counted(tmp_path / "new.db")


def _counted(where: DatabaseAddress) -> list[tuple[Window, dict[str, int], int]]:
    results = Store(where).results("tiny", "1")
    return [(result.window, result.events, result.rows) for result in results]


def test_database_opened_by_two_processes_is_migrated_once(
    earlier: DatabaseAddress,
) -> None:
    address = f"Path({str(earlier)!r})" if isinstance(earlier, Path) else repr(earlier)
    program = (
        "from pathlib import Path; from monitoring.storage.store import Store\n"
        f"input(); print(Store({address}).totals()['monitored_events'])"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    replies = [process.communicate("\n") for process in processes]
    assert [output for output, _ in replies] == ["105\n"] * 2, replies
    assert _differences(earlier) == []


def test_database_of_a_newer_release_is_refused_and_not_changed(where: DatabaseAddress) -> None:
    database = Database(where)
    database.do(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(NewerDatabase, match=f"revision 9999.*up to {REVISION}.*newer"):
        Database(where)
    assert database.all(f"SELECT version_num FROM {VERSION_TABLE}") == [("9999",)]
    database.close()


def test_failed_migration_leaves_the_database_unchanged(earlier: DatabaseAddress) -> None:
    """The migration fails because a table already has the name of its index."""
    if isinstance(earlier, Path):
        engine = create_engine(f"sqlite:///{earlier}")
    else:
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(earlier))
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE retries"))
        connection.execute(text("DROP INDEX early_labels_received"))
        connection.execute(text("ALTER TABLE early_labels DROP COLUMN received"))
        connection.execute(text("CREATE TABLE early_labels_received (number INTEGER)"))
    before = _differences(earlier)
    assert before
    with pytest.raises((sqlite3.Error, psycopg.Error), match="already"):
        Database(earlier)
    assert _differences(earlier) == before
    engine.dispose()


def test_earliest_databases_get_their_missing_columns(where: DatabaseAddress) -> None:
    old = Database(where)
    with old.transaction():
        old.do(f"DROP TABLE {VERSION_TABLE}")
        old.do("ALTER TABLE predictions DROP COLUMN told")
        old.do("ALTER TABLE predictions DROP COLUMN time")
        old.do("ALTER TABLE early_labels DROP COLUMN time")
        old.do("DROP INDEX early_labels_received")
        old.do("ALTER TABLE early_labels DROP COLUMN received")
        old.do("ALTER TABLE early_labels DROP COLUMN partition")
        old.do("INSERT INTO predictions VALUES ('late', 0, 'm', '1', NULL, 2, NULL, NULL)")
        old.do("INSERT INTO predictions VALUES ('p', 0, 'm', '1', 0, 1, :body, NULL)", body=b"[1]")
        old.do("INSERT INTO early_labels VALUES ('q', 0, :label)", label=b"1")
    old.close()
    journal = Journal(Database(where))
    assert _differences(where) == []
    known = journal.predictions.find("p", 0)
    assert known is not None
    assert (known.time, known.predicted) == (None, None)
    assert journal.predictions.find("late", 0) is None, "its deletion time is unknown"
    with journal.database.transaction():
        assert journal.predictions.pop_early_labels("q") == {0: EarlyLabel(b"1", None, 0)}
        journal.predictions.add_row(StoredRow("r", 0, "m", "1", 0, 3, b"[1]", None, 4))
        journal.predictions.flush()
    journal.database.close()
