"""Store the forwarder's dead letters in a SQLite file.

A dead letter is a record that could not be forwarded, with the reason. It is on disk before the
forwarder's cursor passes the record, and is stored once even if the record is sent again. The file
is bounded: the content of the oldest letters is deleted first, then the oldest letters.
"""

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from eventlog.durable_files import open_private
from eventlog.errors import EventLogError, UnreadableEvent
from eventlog.log import Record

MOST_LETTERS = 100_000
MOST_BYTES = 64 << 20  # total content of all stored letters
_LONGEST_REASON = 1_000  # characters
_LARGEST = 2**63 - 1  # largest integer that SQLite can store
_SCHEMA = """
CREATE TABLE IF NOT EXISTS letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    received INTEGER NOT NULL,
    reason TEXT NOT NULL,
    size INTEGER NOT NULL,
    record BLOB,
    UNIQUE (source, epoch, sequence)
)
"""

_INSERT = """
INSERT OR IGNORE INTO letters (source, epoch, sequence, reason, received, size, record)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""


class UnforwardedRecord(msgspec.Struct, frozen=True):
    """A record that was not forwarded."""

    source: str
    epoch: int
    sequence: int
    reason: str
    received: int = 0  # microseconds since the Unix epoch; 0 if the record is unreadable
    size: int = 0  # bytes of the record
    record: bytes | None = None  # the logged bytes; None if they are deleted or not requested

    @property
    def origin(self) -> str:
        """Return `source:epoch:sequence`."""
        return f"{self.source}:{self.epoch}:{self.sequence}"


def dead_letter(record: Record, reason: str) -> UnforwardedRecord:
    """Return the dead letter of a record."""
    event, body = record.event, record.whole
    return UnforwardedRecord(
        record.source,
        record.epoch,
        record.sequence,
        reason[:_LONGEST_REASON],
        0 if isinstance(event, UnreadableEvent) else event.received,
        len(body),
        body,
    )


class DeadLetters:
    """Store and query the dead letters of one forwarder. The first letter creates the file."""

    def __init__(
        self, path: Path, *, most_letters: int = MOST_LETTERS, most_bytes: int = MOST_BYTES
    ) -> None:
        self._path = path
        self._most_letters = most_letters
        self._most_bytes = most_bytes

    def add(self, letters: Sequence[UnforwardedRecord]) -> int:
        """Store letters durably; return the number of new letters.

        Raises EventLogError if the file cannot be written.
        """
        try:
            os.close(open_private(self._path))
            with contextlib.closing(sqlite3.connect(self._path)) as database, database:
                database.execute("PRAGMA synchronous = FULL")
                database.execute(_SCHEMA)
                added = sum(database.execute(_INSERT, _row(letter)).rowcount for letter in letters)
                self._bound(database)
        except (OSError, sqlite3.Error) as error:
            raise EventLogError(f"{self._path}: cannot store dead letters: {error}") from error
        return added

    def newest(self, limit: int) -> list[UnforwardedRecord]:
        """Return at most `limit` letters, newest first, without their content."""
        rows = self._read(
            "SELECT source, epoch, sequence, reason, received, size FROM letters "
            "ORDER BY number DESC LIMIT ?",
            limit,
        )
        return [UnforwardedRecord(*row) for row in rows]

    def origins(self) -> dict[tuple[str, int, int], int]:
        """Return the reception time of every letter, by source, epoch and sequence number."""
        rows = self._read("SELECT source, epoch, sequence, received FROM letters")
        return {(source, epoch, sequence): received for source, epoch, sequence, received in rows}

    def find(self, source: str, epoch: int, sequence: int) -> UnforwardedRecord | None:
        """Return a letter with its content, or None if the letter does not exist."""
        rows = self._read(
            "SELECT source, epoch, sequence, reason, received, size, record FROM letters "
            "WHERE source = ? AND epoch = ? AND sequence = ?",
            source,
            epoch,
            sequence,
        )
        return UnforwardedRecord(*rows[0]) if rows else None

    def _read(self, statement: str, *parameters: str | int) -> list[Any]:
        if not self._path.exists():
            return []
        try:
            where = f"{self._path.absolute().as_uri()}?mode=ro"
            with contextlib.closing(sqlite3.connect(where, uri=True)) as database:
                return database.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise EventLogError(f"{self._path}: cannot read dead letters: {error}") from error

    def _bound(self, database: sqlite3.Connection) -> None:
        database.execute(
            "DELETE FROM letters WHERE number <= (SELECT max(number) FROM letters) - ?",
            (self._most_letters,),
        )
        database.execute(
            "UPDATE letters SET record = NULL WHERE record IS NOT NULL AND number IN ("
            "  SELECT number FROM ("
            "    SELECT number, sum(length(record)) OVER (ORDER BY number DESC) AS held"
            "    FROM letters"
            "  ) WHERE held > ?)",
            (self._most_bytes,),
        )


def _row(letter: UnforwardedRecord) -> tuple[Any, ...]:
    received = min(max(letter.received, 0), _LARGEST)
    where = (letter.source, letter.epoch, letter.sequence)
    return (*where, letter.reason, received, letter.size, letter.record)
