"""Reads of stored results that the consumer and the pages share."""

from monitoring.results import Result
from monitoring.storage.database import Database, as_struct
from monitoring.storage.predictions import Key
from monitoring.storage.sql import results as queries
from monitoring.windows.grid import END_OF_TIME
from monitoring.windows.totals import ClosedTotals, add_up

ALL = 1 << 62  # limit that includes every window


def newest(database: Database, key: Key, last: int, before: int) -> list[Result]:
    """Read the newest revisions of the `last` windows that begin before `before`, oldest first."""
    model, version = key
    rows = database.all(queries.NEWEST, model=model, version=version, before=before, limit=last)
    return [as_struct(body, Result) for (body,) in reversed(rows)]


def closed(database: Database, key: Key) -> ClosedTotals:
    """Read the totals of all closed windows; add up the results if no totals are stored yet."""
    model, version = key
    row = database.one(queries.CLOSED, model=model, version=version)
    if row is None:
        return add_up(newest(database, key, ALL, END_OF_TIME))
    return as_struct(row[0], ClosedTotals)
