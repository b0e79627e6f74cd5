"""What monitors that share a log have read and one of them has not taken in yet (PostgreSQL only).

A stream belongs to who holds its lock, on the connection that writes: whoever lost it writes no
more of it, and the next reader begins exactly where the last one's commits end.
"""

from collections.abc import Iterable, Mapping, Set

import msgspec

from eventlog.log import Position
from monitoring.sharing.entries import Chunk
from monitoring.storage.database import Database, as_bytes, as_int

_FRESH = 3_000  # milliseconds for which the word of a stream's reader counts
# One clock for all of them: the server's.
_REPORT = """UPDATE streams SET epoch = coalesce(?, epoch), sequence = coalesce(?, sequence),
    ended = ?, reported = (1000 * extract(epoch FROM clock_timestamp()))::bigint WHERE stream = ?"""
_LOOK = """SELECT stream, chunks, taken, ended = 1
    AND reported > (1000 * extract(epoch FROM clock_timestamp()))::bigint - ? FROM streams"""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Chunk).decode


class Stream(msgspec.Struct, frozen=True):
    """How far one stream is."""

    name: str
    chunks: int  # handed over so far
    taken: int  # of them, all of which is taken in
    ended: bool  # whether its reader has found its end a moment ago


class SharedChunks:
    """The chunks of every stream, in their order."""

    def __init__(self, database: Database) -> None:
        """Their tables in `database`, whose connection is to hold the locks of streams."""
        self._database = database
        # Whoever stands still for longer than this is no member any more: the server ends his
        # connection, and others take up what he held.
        database.do("SET idle_session_timeout = '30s'")
        database.do("SET idle_in_transaction_session_timeout = '60s'")

    def know(self, streams: Iterable[str]) -> None:
        """Take note that these exist: nobody runs ahead of one that is not read yet."""
        with self._database.transaction(alone=False):
            self._database.many(
                "INSERT INTO streams (stream) VALUES (?) ON CONFLICT DO NOTHING",
                [(stream,) for stream in sorted(streams)],
            )

    def claim(self, stream: str) -> bool:
        """Become the reader of a stream; False while another monitor is."""
        return self._database.try_lock(f"stream {stream}")

    def release(self, stream: str) -> None:
        """Let another monitor read it."""
        self._database.do("UPDATE streams SET ended = 0 WHERE stream = ?", stream)
        self._database.unlock(f"stream {stream}")

    def position(self, stream: str) -> Position | None:
        """Where reading goes on; None at the beginning."""
        found = self._database.one(
            "SELECT coalesce(streams.epoch, positions.epoch), "
            "coalesce(streams.sequence, positions.sequence) "
            "FROM streams LEFT JOIN positions ON positions.source = streams.stream "
            "WHERE stream = ?",
            stream,
        )
        if found is None or found[0] is None:
            return None
        return Position(as_int(found[0]), as_int(found[1]))

    def hand_over(
        self,
        chunks: Iterable[Chunk],
        reached: Mapping[str, Position | None],
        ended: Set[str],
    ) -> None:
        """Keep chunks of streams that are claimed, and how far all the claimed are."""
        with self._database.transaction(alone=False):
            for chunk in chunks:
                self._database.do(
                    "INSERT INTO handed SELECT stream, chunks + 1, ? FROM streams WHERE stream = ?",
                    _encode(chunk),
                    chunk.stream,
                )
                self._database.do(
                    "UPDATE streams SET chunks = chunks + 1 WHERE stream = ?", chunk.stream
                )
            self._database.many(
                _REPORT,
                [
                    (at and at.epoch, at and at.sequence, int(stream in ended), stream)
                    for stream, at in reached.items()
                ],
            )

    def streams(self) -> list[Stream]:
        """Every stream that anybody knows of."""
        found = self._database.all(_LOOK, _FRESH)
        return [
            Stream(str(name), as_int(chunks), as_int(taken), ended is True)
            for name, chunks, taken, ended in found
        ]

    def chunks(self, stream: str, after: int, limit: int) -> list[tuple[int, Chunk]]:
        """The next chunks of a stream, with their numbers."""
        found = self._database.all(
            "SELECT number, body FROM handed WHERE stream = ? AND number > ? "
            "ORDER BY number LIMIT ?",
            stream,
            after,
            limit,
        )
        return [(as_int(number), _decode(as_bytes(body))) for number, body in found]

    def taken(self, numbers: dict[str, int]) -> None:
        """Let go of chunks up to these numbers; part of the step that took in the last of them."""
        rows: list[tuple[object, ...]] = [
            (number, stream) for stream, number in sorted(numbers.items())
        ]
        self._database.many("DELETE FROM handed WHERE number <= ? AND stream = ?", rows)
        self._database.many("UPDATE streams SET taken = ? WHERE stream = ?", rows)
