"""Statements on dead letters: records that could not be ingested."""

from sqlalchemy import BigInteger, bindparam, delete, func, insert, literal_column, select

from monitoring.storage.schema import dead_letters as letters
from monitoring.storage.schema import retries
from monitoring.storage.statements import LIMIT, RowChange, RowInsert, values_of

_ZERO, _ONE = literal_column("0", BigInteger), literal_column("1", BigInteger)
_ALL = select(letters.c.number, letters.c.origin, letters.c.reason, letters.c.body)
_OF_PARTITION = letters.c.partition == bindparam("partition", type_=letters.c.partition.type)
_OWN = select(letters.c.number).where(_OF_PARTITION)
_RETRIED = letters.c.number.in_(select(retries.c.number))

NEWEST = _ALL.order_by(letters.c.number.desc()).limit(LIMIT)
BODY = select(letters.c.body).where(letters.c.number == bindparam("number"))
COUNT = select(func.count()).select_from(letters)
_LAST = select(func.max(letters.c.number)).scalar_subquery()
ADD = RowChange(
    values_of(letters, "origin", "reason", "body", "partition"),
    lambda params: insert(letters).from_select(
        ["number", "origin", "reason", "body", "partition"],
        select(
            func.coalesce(func.max(letters.c.number), _ZERO) + _ONE,
            params["origin"],
            params["reason"],
            params["body"],
            params["partition"],
        ),
    ),
)
RETRY_LAST = RowChange(  # retries the newest dead letter of an origin
    values_of(letters, "origin"),
    lambda params: insert(retries).from_select(
        ["number"], select(func.max(letters.c.number)).where(letters.c.origin == params["origin"])
    ),
)
DELETE_OLDEST = delete(letters).where(
    letters.c.number <= _LAST - bindparam("keep", type_=BigInteger),
    letters.c.number.not_in(select(retries.c.number)),
)

RETRIES = _ALL.where(_OF_PARTITION, _RETRIED).order_by(letters.c.number)
ANY_RETRY = select(retries.c.number).where(retries.c.number.in_(_OWN)).limit(1)
RETRY = RowInsert(retries, keep=True)
DELETE_LETTERS = RowChange(
    values_of(letters, "number"),
    lambda params: delete(letters).where(letters.c.number == params["number"]),
)
DELETE_RETRIES = RowChange(
    values_of(retries, "number"),
    lambda params: delete(retries).where(retries.c.number == params["number"]),
)
