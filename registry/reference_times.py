"""Read the event times of a reference's rows from a column."""

from typing import TYPE_CHECKING, Any

import numpy as np

from registry.errors import InvalidReference

if TYPE_CHECKING:
    import pandas as pd

EVENT_TIME = "event_time"  # name of a column that is used for event times by default
_EARLIEST = 31_536_000_000_000  # 1971-01-01 in microseconds, the same limit as for requests
_LATEST = 4_102_444_800_000_000 - 1  # the last microsecond before 2100-01-01
Array = np.ndarray[Any, Any]


def holds_times(column: "pd.Series[Any]") -> bool:
    """Return whether a column contains dates, not numbers, which can be a feature."""
    if column.dtype.kind == "M":
        return True
    if column.dtype.kind in "biuf" or not len(column):
        return False
    try:
        read_times(column)
    except InvalidReference:
        return False
    return True


def read_times(column: "pd.Series[Any]") -> Array:
    """Return event times in microseconds since the epoch; times without a zone are UTC.

    Raises InvalidReference for a row without a time, or with a time outside 1971 to 2099.
    """
    import pandas as pd  # noqa: PLC0415  # slow to import, and workers do not need it

    try:
        if column.dtype.kind in "iu":
            times = column.to_numpy(dtype=np.int64)
        else:
            moments = pd.to_datetime(column, utc=True, format="ISO8601")
            if moments.isna().any():
                row = int(moments.isna().to_numpy().argmax())
                raise InvalidReference(
                    f"reference column {column.name!r}: row {row} has no event time"
                )
            times = moments.dt.as_unit("us").astype("int64").to_numpy()
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidReference(
            f"reference column {column.name!r} has no event times: "
            f"{str(error).splitlines()[0]:.200}; expected dates and times, or integer microseconds "
            "since 1970"
        ) from None
    outside = (times < _EARLIEST) | (times > _LATEST)
    if outside.any():
        row = int(outside.argmax())
        raise InvalidReference(
            f"reference column {column.name!r}, row {row}: {times[row]} is not an event time; "
            "expected 1971-01-01 to 2099-12-31, integers in microseconds since 1970"
        )
    return np.asarray(times, dtype=np.int64)
