"""References store the event times of their rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from registry.errors import InvalidManifest, InvalidReference
from registry.manifest import Version
from registry.own_columns import OwnColumns
from registry.reference import load_reference
from registry.reference_times import holds_times, read_times
from tests.registry.test_inference import inferred
from tests.registry.test_inference import register as register  # noqa: PLC0414  # a fixture
from tests.tiny_model import MANIFEST, reference, tiny_classifier

NOON = 1_704_110_400_000_000  # 2024-01-01T12:00 UTC
TIMES = [NOON, NOON + 1, NOON + 60_000_000]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(TIMES),
        pd.Series(pd.to_datetime(TIMES, unit="us")),
        pd.Series(pd.to_datetime(TIMES, unit="us", utc=True)).dt.tz_convert("Asia/Tokyo"),
        pd.Series(["2024-01-01T12:00:00Z", "2024-01-01 12:00:00.000001", "2024-01-01T13:01+01:00"]),
        pd.Series(list(pd.to_datetime(TIMES, unit="us")), dtype=object),
    ],
    ids=["integers", "naive", "zoned", "text", "objects"],
)
def test_times_are_read_to_the_microsecond(column: "pd.Series[Any]") -> None:
    assert read_times(column).tolist() == TIMES
    assert holds_times(column) == (column.dtype.kind != "i")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([NOON // 1_000_000] * 2, r"'t', row 0: 1704110400 is not an event time; .* microseconds"),
        ([NOON, NOON * 1_000], "row 1: .* is not an event time"),
        (["2024-01-01", "soon"], "has no event times"),
        (["2024-01-01", None], "row 1 has no event time"),
        ([1.5, 2.5], "has no event times"),
        ([{}, []], "has no event times"),
    ],
)
def test_a_value_that_is_not_a_time_is_refused_by_row(values: list[Any], words: str) -> None:
    column = pd.Series(values, name="t")
    with pytest.raises(InvalidReference, match=words):
        read_times(column)
    assert not holds_times(column)


def _timed(name: str = "event_time") -> pd.DataFrame:
    rows = reference()
    return rows.assign(**{name: pd.date_range("2024-01-01", periods=len(rows), freq="h")})


def _stored(version: Version) -> list[int]:
    return list(load_reference(version)[OwnColumns(version.manifest).time])


def test_a_column_of_event_times_is_kept(register: Callable[..., Version]) -> None:
    version = register(tiny_classifier(), _timed(), **MANIFEST)
    assert version.manifest.event_time == "event_time"
    assert _stored(version)[:2] == [NOON - 12 * 3_600_000_000, NOON - 11 * 3_600_000_000]
    assert "event_time" in inferred(version).reasons
    named = register(tiny_classifier(), _timed("when"), event_time="when", **MANIFEST)
    assert _stored(named) == _stored(version)


def test_inference_does_not_make_event_times_a_feature(register: Callable[..., Version]) -> None:
    rows = _timed().drop(columns="note")
    version = register(tiny_classifier(), rows, target="bought")
    assert [feature.name for feature in version.manifest.features] == ["price", "colour"]
    assert version.manifest.event_time == "event_time"


def test_a_numeric_column_event_time_is_used_only_if_it_is_named(
    register: Callable[..., Version],
) -> None:
    rows = reference().assign(event_time=NOON + np.arange(300))
    assert register(tiny_classifier(), rows, **MANIFEST).manifest.event_time == ""
    version = register(tiny_classifier(), rows, event_time="event_time", **MANIFEST)
    assert _stored(version)[0] == NOON


def test_a_version_without_event_times_has_the_same_digest_as_before(
    register: Callable[..., Version],
) -> None:
    first = register(tiny_classifier(), reference(), **MANIFEST)
    assert register(tiny_classifier(), reference(), event_time="", **MANIFEST) == first


@pytest.mark.parametrize(
    ("stated", "kind", "words"),
    [
        ("when", InvalidReference, "has no column 'when'"),
        ("bought", InvalidManifest, "event_time and target are the same column: 'bought'"),
        ("colour", InvalidReference, "'colour' has no event times|has no event time"),
    ],
)
def test_an_impossible_event_time_is_refused(
    register: Callable[..., Version], stated: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        register(tiny_classifier(), reference(), event_time=stated, **MANIFEST)
