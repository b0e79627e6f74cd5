"""Durations in commands."""

import pytest

from telemetry.clock import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1_800),
        ("1.5h", 5_400),
        ("8h", 28_800),
        ("90d", 7_776_000),
        ("2w", 1_209_600),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "8", "h", "0d", "-1h", "1.h", ".5h", "0.4s", "8 h", "8H", "1234567m", "1y"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a number and a unit"):
        parse_duration(text)


def test_a_longer_duration_than_allowed_is_refused() -> None:
    assert parse_duration("366d", longest=366 * 86_400) == 366 * 86_400
    with pytest.raises(ValueError, match="at most 366d"):
        parse_duration("367d", longest=366 * 86_400)
