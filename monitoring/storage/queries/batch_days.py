"""Statements on daily counts of batch-scored rows."""

from sqlalchemy import bindparam, delete, select

from monitoring.storage.schema import batch_days
from monitoring.storage.statements import LIMIT, RowInsert

_OF_VERSION = (
    batch_days.c.model == bindparam("model"),
    batch_days.c.version == bindparam("version"),
)
OF_DAY = select(batch_days.c.body).where(*_OF_VERSION, batch_days.c.start == bindparam("start"))
NEWEST = (
    select(batch_days.c.start, batch_days.c.body)
    .where(*_OF_VERSION)
    .order_by(batch_days.c.start.desc())
    .limit(LIMIT)
)
SINCE = (
    select(batch_days.c.model, batch_days.c.version, batch_days.c.body)
    .where(batch_days.c.start >= bindparam("start"))
    .order_by(batch_days.c.model, batch_days.c.version, batch_days.c.start)
)
SAVE = RowInsert(batch_days, replace=["body"])
DELETE_BEFORE = delete(batch_days).where(*_OF_VERSION, batch_days.c.start < bindparam("until"))
