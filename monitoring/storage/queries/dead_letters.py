"""Statements on records that could not be ingested."""

from sqlalchemy import BigInteger, bindparam, delete, func, insert, literal_column, select

from monitoring.storage.schema import dead_letters as letters
from monitoring.storage.schema import retries
from monitoring.storage.statements import LIMIT, RowChange, RowInsert, values_of

_ZERO, _ONE = literal_column("0", BigInteger), literal_column("1", BigInteger)
_ALL = select(letters.c.number, letters.c.origin, letters.c.reason, letters.c.body)
_RETRIED = letters.c.number.in_(select(retries.c.number))

NEWEST = _ALL.order_by(letters.c.number.desc()).limit(LIMIT)
BODY = select(letters.c.body).where(letters.c.number == bindparam("number"))
COUNT = select(func.count()).select_from(letters)
_LAST = select(func.max(letters.c.number)).scalar_subquery()
ADD = RowChange(
    values_of(letters, "origin", "reason", "body"),
    lambda given: insert(letters).from_select(
        ["number", "origin", "reason", "body"],
        select(
            func.coalesce(func.max(letters.c.number), _ZERO) + _ONE,
            given["origin"],
            given["reason"],
            given["body"],
        ),
    ),
)
DELETE_OLDEST = delete(letters).where(
    letters.c.number <= _LAST - bindparam("keep", type_=BigInteger)
)

RETRIES = _ALL.where(_RETRIED).order_by(letters.c.number)
ANY_RETRY = select(retries.c.number).limit(1)
RETRY = RowInsert(retries, keep=True)
DELETE_RETRIED = delete(letters).where(_RETRIED)
DELETE_RETRIES = delete(retries)
