from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.presenter.formats import (
    day,
    duration,
    figure,
    moment,
    number,
    percent,
    period,
    several,
    shortest,
    utc,
)
from monitoring.results import Window


def at(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[misc]


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        ((2013, 7, 7), (2013, 7, 15), "7–14 Jul 2013"),
        ((2013, 7, 29), (2013, 8, 5), "29 Jul – 4 Aug 2013"),
        ((2013, 12, 30), (2014, 1, 6), "30 Dec 2013 – 5 Jan 2014"),
        ((2013, 7, 7), (2013, 7, 8), "7 Jul 2013"),
        ((2013, 7, 7, 14), (2013, 7, 7, 15), "7 Jul 2013, 14:00–15:00"),
        ((2013, 7, 7, 23), (2013, 7, 8), "7 Jul 2013, 23:00 – 8 Jul 2013, 00:00"),
    ],
)
def test_windows_are_formatted_as_short_date_ranges(
    start: tuple[int, ...], end: tuple[int, ...], text: str
) -> None:
    assert period(Window(at(*start), at(*end))) == text


@given(st.integers(), st.integers())
def test_every_event_time_can_be_formatted(start: int, end: int) -> None:
    assert period(Window(start, end))
    assert day(start)
    assert moment(end)
    assert 1 <= utc(start).year <= 9999


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.4512, "0.451"), (0.0, "0.000"), (0.0002, "<0.001"), (-0.0002, ">-0.001"),
        (1234.56, "1,234.6"), (None, "–"), (float("nan"), "–"), (float("inf"), "–"),
    ],
)  # fmt: skip
def test_figures_never_round_to_a_false_zero(value: float | None, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"),
        (-1.2e-07, "0%"),
        (0.0004, "<1%"),
        (0.456, "46%"),
        (0.9996, ">99%"),
        (1.0, "100%"),
        (None, "–"),
    ],
)
def test_only_zero_is_0_percent_and_only_one_is_100_percent(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_counts_have_thousands_separators() -> None:
    assert number(6412) == "6,412"
    assert several(1, "alarm") == "1 alarm"
    assert several(1200, "row") == "1,200 rows"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0, "0 µs"),
        (0.00042, "420 µs"),
        (0.0042, "4.2 ms"),
        (0.42, "420 ms"),
        (25.4, "25 s"),
        (600.0, "10 min"),
        (12_600.0, "3.5 h"),
        (172_800.0, "2 days"),
        (31_536_000.0, "365 days"),
    ],
)
def test_durations_have_a_suitable_unit(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("value", [0.1, 1e-45, 3.4028235e38, 16_777_216.0, 1 / 3])
def test_fp32_number_has_the_digits_that_were_sent(value: float) -> None:
    single = float(np.float32(value))
    assert shortest(single) == float(str(np.float32(value)))
    assert shortest(value) == value
    assert (shortest("a"), shortest(None), shortest(7)) == ("a", None, 7)
