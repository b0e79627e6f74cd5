from datetime import UTC, datetime
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from monitoring.webhooks.retries import (
    LONGEST_RETRY_AFTER,
    MAX_ATTEMPTS,
    SECOND,
    next_attempt,
    parse_retry_after,
)

DAY = 24 * 3_600 * SECOND
moments = st.integers(0, 4_000_000_000 * SECOND)
jitters = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, MAX_ATTEMPTS - 1)


def test_retry_waits_grow_from_seconds_to_hours() -> None:
    waits = [next_attempt(n, 0, None, 0.0) for n in range(1, MAX_ATTEMPTS)]
    assert [wait // SECOND for wait in waits if wait is not None] == [
        5, 15, 45, 135, 405, 1215, 3645, 10935, 21600, 21600, 21600, 21600,
    ]  # fmt: skip


@given(st.lists(jitters, min_size=MAX_ATTEMPTS, max_size=MAX_ATTEMPTS), moments)
def test_webhook_is_retried_for_more_than_a_day_and_then_abandoned(
    chance: list[float], start: int
) -> None:
    now = start
    for number in range(1, MAX_ATTEMPTS):
        moment = next_attempt(number, now, None, chance[number])
        assert moment is not None
        now = moment
    assert now - start > DAY
    assert next_attempt(MAX_ATTEMPTS, now, None, 0.0) is None


@given(attempts, moments, jitters)
def test_next_attempt_is_in_the_future_and_jitter_only_adds(
    number: int, now: int, jitter: float
) -> None:
    plain, jittered = (next_attempt(number, now, None, chance) for chance in (0.0, jitter))
    assert plain is not None
    assert jittered is not None
    assert now < plain <= jittered


@given(attempts, moments, st.none() | moments, jitters)
def test_retry_after_only_delays_and_by_at_most_a_day(
    number: int, now: int, retry_after: int | None, jitter: float
) -> None:
    plain = next_attempt(number, now, None, jitter)
    moment = next_attempt(number, now, retry_after, jitter)
    assert plain is not None
    assert moment is not None
    assert plain <= moment <= max(plain, now + LONGEST_RETRY_AFTER)
    if retry_after is not None and retry_after <= now + LONGEST_RETRY_AFTER:
        assert moment >= retry_after


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    now = 1_000 * SECOND
    assert parse_retry_after("120", now) == 1_120 * SECOND
    later = datetime(2030, 5, 1, 12, 0, tzinfo=UTC)
    assert parse_retry_after(format_datetime(later, usegmt=True), now) == int(
        later.timestamp() * SECOND
    )
    assert parse_retry_after("9" * 400, now) == now + LONGEST_RETRY_AFTER


MALFORMED = ["-5", "soon", "", "1e9", "²", "Mon, 01 Jan 0001 00:00:00 +2359", "1 Jan 99999 0:0:0"]
MALFORMED += ["Fri, 31 Dec 9999 23:59:59 -2359", "0 0 0 0:0:0 +9999999", "Mon, 1", ",", "(", "::"]
MALFORMED += ["Mon, 01 Jan 2030 00:00:00 +99999999999", "1 Jan 2030 1:1:1 +0000 \0"]


@given(st.none() | st.text() | st.sampled_from(MALFORMED), moments)
def test_malformed_retry_after_never_raises(value: str | None, now: int) -> None:
    moment = parse_retry_after(value, now)
    assert moment is None or isinstance(moment, int)
