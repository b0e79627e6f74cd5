"""Statements on monitored versions, their open windows and late events."""

from sqlalchemy import BigInteger, bindparam, cast, delete, func, select

from monitoring.storage.schema import late, version_progress, windows
from monitoring.storage.statements import RowChange, RowInsert, values_of

VERSIONS = select(version_progress.c.model, version_progress.c.version).order_by(
    version_progress.c.model, version_progress.c.version
)
ALL_PROGRESS = select(version_progress.c.body)
PROGRESS_OF_PARTITION = select(version_progress.c.body).where(
    version_progress.c.partition == bindparam("partition", type_=version_progress.c.partition.type)
)
PROGRESS = select(version_progress.c.body).where(
    version_progress.c.model == bindparam("model"),
    version_progress.c.version == bindparam("version"),
)
SAVE_PROGRESS = RowInsert(version_progress, replace=["body"])

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
