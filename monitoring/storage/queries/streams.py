"""Statements on the streams that monitors share; PostgreSQL only."""

from sqlalchemy import (
    BigInteger,
    bindparam,
    cast,
    delete,
    extract,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)

from monitoring.storage.schema import handed, positions, streams
from monitoring.storage.statements import LIMIT, RowChange, RowInsert, values_of

_ONE = literal_column("1", BigInteger)
# The server's clock, the same for every monitor, in milliseconds.
_NOW = cast(literal_column("1000") * extract("epoch", func.clock_timestamp()), BigInteger)

# The server ends the connection of a monitor that stands still for longer, and others continue
# with the streams that it held.
LIMIT_IDLE_SESSION = text("SET idle_session_timeout = '30s'")
LIMIT_IDLE_TRANSACTION = text("SET idle_in_transaction_session_timeout = '60s'")

ADD = RowInsert(streams, "stream", keep=True)
UNFINISHED = RowChange(
    values_of(streams, "stream"),
    lambda given: (
        update(streams).values(ended=literal_column("0")).where(streams.c.stream == given["stream"])
    ),
)
POSITION = (
    select(
        func.coalesce(streams.c.epoch, positions.c.epoch),
        func.coalesce(streams.c.sequence, positions.c.sequence),
    )
    .select_from(streams.outerjoin(positions, positions.c.source == streams.c.stream))
    .where(streams.c.stream == bindparam("stream"))
)
REPORT = RowChange(
    values_of(streams, "epoch", "sequence", "ended", "stream"),
    lambda given: (
        update(streams)
        .values(
            epoch=func.coalesce(given["epoch"], streams.c.epoch),
            sequence=func.coalesce(given["sequence"], streams.c.sequence),
            ended=given["ended"],
            reported=_NOW,
        )
        .where(streams.c.stream == given["stream"])
    ),
)
STATES = select(
    streams.c.stream,
    streams.c.chunks,
    streams.c.taken,
    (streams.c.ended == _ONE) & (streams.c.reported > _NOW - bindparam("fresh", type_=BigInteger)),
)

CHUNKS = (
    select(handed.c.number, handed.c.body)
    .where(handed.c.stream == bindparam("stream"), handed.c.number > bindparam("after"))
    .order_by(handed.c.number)
    .limit(LIMIT)
)
ADD_CHUNK = RowChange(
    {"body": handed.c.body, "stream": handed.c.stream},
    lambda given: insert(handed).from_select(
        ["stream", "number", "body"],
        select(streams.c.stream, streams.c.chunks + _ONE, given["body"]).where(
            streams.c.stream == given["stream"]
        ),
    ),
)
COUNT_CHUNK = RowChange(
    values_of(streams, "stream"),
    lambda given: (
        update(streams)
        .values(chunks=streams.c.chunks + _ONE)
        .where(streams.c.stream == given["stream"])
    ),
)
DELETE_CHUNKS = RowChange(
    values_of(handed, "number", "stream"),
    lambda given: delete(handed).where(
        handed.c.number <= given["number"], handed.c.stream == given["stream"]
    ),
)
TAKEN = RowChange(
    values_of(streams, "taken", "stream"),
    lambda given: (
        update(streams).values(taken=given["taken"]).where(streams.c.stream == given["stream"])
    ),
)
