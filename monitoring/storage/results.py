"""The results that lie in the database, as the consumer and the page both read them."""

from monitoring.results import Result
from monitoring.storage.database import Database, as_struct
from monitoring.storage.predictions import Key
from monitoring.windows.grid import END_OF_TIME
from monitoring.windows.totals import ClosedTotals, add_up

ALL = 1 << 62  # windows
_NEWEST = (
    "SELECT body FROM results AS newest WHERE model = ? AND version = ? AND start < ? "
    "AND revision = (SELECT max(revision) FROM results WHERE model = newest.model "
    "AND version = newest.version AND start = newest.start) ORDER BY start DESC LIMIT ?"
)


def newest(database: Database, key: Key, last: int, before: int) -> list[Result]:
    """The newest revision of the `last` windows that begin before a time, oldest window first."""
    found = database.all(_NEWEST, *key, before, last)
    return [as_struct(body, Result) for (body,) in reversed(found)]


def closed(database: Database, key: Key) -> ClosedTotals:
    """All closed windows added up; from the results themselves where an earlier release did not."""
    found = database.one("SELECT body FROM closed WHERE model = ? AND version = ?", *key)
    if found is None:
        return add_up(newest(database, key, ALL, END_OF_TIME))
    return as_struct(found[0], ClosedTotals)
