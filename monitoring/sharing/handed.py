"""Chunks that monitors of a shared log have read and none has ingested yet (PostgreSQL only).

An advisory lock on the committing connection fences each stream. A monitor that loses it writes
nothing more of the stream, and the next reader begins where the last commit ends.
"""

from collections.abc import Iterable, Mapping, Set

import msgspec

from eventlog.log import Position
from monitoring.sharing.entries import Chunk
from monitoring.storage.database import Database, as_bytes, as_int
from monitoring.storage.sql import streams as queries

_FRESH = 3_000  # milliseconds for which the word of a stream's reader counts

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Chunk).decode


class Stream(msgspec.Struct, frozen=True):
    """The progress of one stream."""

    name: str
    chunks: int  # handed over so far
    taken: int  # of them, all of which is taken in
    ended: bool  # whether its reader has found its end a moment ago


class SharedChunks:
    """The chunks of every stream, in their order."""

    def __init__(self, database: Database) -> None:
        """Use the tables in `database`, whose connection holds the locks of streams."""
        self._database = database
        database.do(queries.LIMIT_IDLE_SESSION)
        database.do(queries.LIMIT_IDLE_TRANSACTION)

    def know(self, streams: Iterable[str]) -> None:
        """Store that these streams exist; no other runs ahead of one that is not read yet."""
        with self._database.transaction(alone=False):
            self._database.many(queries.ADD, [(stream,) for stream in sorted(streams)])

    def claim(self, stream: str) -> bool:
        """Become the reader of a stream; False while another monitor is."""
        return self._database.try_lock(f"stream {stream}")

    def release(self, stream: str) -> None:
        """Let another monitor read a stream."""
        self._database.write(queries.UNFINISHED, stream)
        self._database.unlock(f"stream {stream}")

    def position(self, stream: str) -> Position | None:
        """Read the next position of a stream; None at the beginning."""
        found = self._database.one(queries.POSITION, stream=stream)
        if found is None or found[0] is None:
            return None
        return Position(as_int(found[0]), as_int(found[1]))

    def hand_over(
        self,
        chunks: Iterable[Chunk],
        reached: Mapping[str, Position | None],
        ended: Set[str],
    ) -> None:
        """Store chunks of claimed streams, and the positions of all claimed ones."""
        with self._database.transaction(alone=False):
            for chunk in chunks:
                self._database.write(queries.ADD_CHUNK, _encode(chunk), chunk.stream)
                self._database.write(queries.COUNT_CHUNK, chunk.stream)
            self._database.many(
                queries.REPORT,
                [
                    (at and at.epoch, at and at.sequence, int(stream in ended), stream)
                    for stream, at in reached.items()
                ],
            )

    def streams(self) -> list[Stream]:
        """Read the progress of every stream."""
        found = self._database.all(queries.STATES, fresh=_FRESH)
        return [
            Stream(str(name), as_int(chunks), as_int(taken), ended is True)
            for name, chunks, taken, ended in found
        ]

    def chunks(self, stream: str, after: int, limit: int) -> list[tuple[int, Chunk]]:
        """Read the next chunks of a stream, with their numbers."""
        found = self._database.all(queries.CHUNKS, stream=stream, after=after, limit=limit)
        return [(as_int(number), _decode(as_bytes(body))) for number, body in found]

    def taken(self, numbers: dict[str, int]) -> None:
        """Delete chunks up to these numbers, in the step that ingested the last of them."""
        rows: list[tuple[object, ...]] = [
            (number, stream) for stream, number in sorted(numbers.items())
        ]
        self._database.many(queries.DELETE_CHUNKS, rows)
        self._database.many(queries.TAKEN, rows)
