"""Statements on monitored versions, their open windows and late events."""

from sqlalchemy import BigInteger, bindparam, cast, delete, func, select

from monitoring.storage.schema import late, watches, windows
from monitoring.storage.statements import RowChange, RowInsert, values_of

VERSIONS = select(watches.c.model, watches.c.version).order_by(watches.c.model, watches.c.version)
WATCHES = select(watches.c.body).where(
    watches.c.partition == bindparam("partition", type_=watches.c.partition.type)
)
WATCH = select(watches.c.body).where(
    watches.c.model == bindparam("model"), watches.c.version == bindparam("version")
)
SAVE_WATCH = RowInsert(watches, replace=["body"])

WINDOWS = (
    select(windows.c.body)
    .where(windows.c.model == bindparam("model"), windows.c.version == bindparam("version"))
    .order_by(windows.c.start)
)
SAVE_WINDOW = RowInsert(windows, replace=["body"])
DELETE_WINDOW = RowChange(
    values_of(windows, "model", "version", "start"),
    lambda params: delete(windows).where(
        windows.c.model == params["model"],
        windows.c.version == params["version"],
        windows.c.start == params["start"],
    ),
)

_LATE = (
    late.c.model == bindparam("model"),
    late.c.version == bindparam("version"),
    late.c.start >= bindparam("begin"),
    late.c.start < bindparam("end"),
)
LATE = select(
    cast(func.sum(late.c.events), BigInteger), cast(func.sum(late.c.rows), BigInteger)
).where(*_LATE)
COUNT_LATE = RowInsert(late, add=["events", "rows"])
DELETE_LATE = delete(late).where(*_LATE)
