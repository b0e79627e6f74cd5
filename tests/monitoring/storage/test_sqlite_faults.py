"""A locked, full or damaged SQLite file raises DatabaseUnavailable; later steps succeed."""

import errno
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eventlog.log import Position
from monitoring.errors import DatabaseUnavailable
from monitoring.log_retention import PositionPublisher
from monitoring.storage import sqlite
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal

Open = Callable[[], Database]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0)
    return tmp_path / "monitor.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path)
    _letters(database)  # loads the migrated schema
    yield database
    database.close()


def _step(database: Database, letters: int = 1) -> None:
    journal = Journal(database)
    with database.transaction():
        for number in range(letters):
            journal.add_dead_letter(f"here-0:1:{number}", "unreadable", bytes(4096))


def _letters(database: Database) -> object:
    (row,) = database.all("SELECT count(*) FROM dead_letters")
    return row[0]


@pytest.mark.parametrize("begin", ["BEGIN EXCLUSIVE", "BEGIN IMMEDIATE", "BEGIN"])
def test_locked_file_fails_the_step_and_the_next_attempt_succeeds(
    path: Path, database: Database, begin: str
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(begin)
        other.execute("SELECT count(*) FROM dead_letters").fetchall()  # as a backup does
        with pytest.raises(DatabaseUnavailable, match=r"monitor\.db: locked by another process"):
            _step(database)
        other.rollback()
    assert _letters(database) == 0
    _step(database)
    assert _letters(database) == 1


def test_full_disk_rolls_back_the_step_and_the_next_step_succeeds(database: Database) -> None:
    (row,) = database.all("PRAGMA page_count")
    database.all(f"PRAGMA max_page_count = {row[0]}")
    with pytest.raises(DatabaseUnavailable, match=r"its disk is full"):
        _step(database, letters=100)
    assert _letters(database) == 0
    database.all("PRAGMA max_page_count = 1000000")
    _step(database, letters=100)
    assert _letters(database) == 100


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + bytes(9000)])
def test_damaged_file_is_an_error_with_its_path(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DatabaseUnavailable, match=r"monitor\.db: .*restore it from a backup"):
        Database(path)


def test_error_in_a_statement_is_not_reported_as_unavailable_database(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        database.all("SELECT * FROM absent")


def test_full_disk_delays_the_published_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    publisher = PositionPublisher(tmp_path / "consumed.json", lambda: {"here-0": Position(1, 5)})
    with monkeypatch.context() as patch:
        patch.setattr("monitoring.log_retention.write_positions", full)
        publisher.publish()
    publisher.publish()
    assert (tmp_path / "consumed.json").exists()
