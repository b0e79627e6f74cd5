"""Schedule of a webhook's retries. Pure: it uses neither a clock nor random numbers.

The waits triple from five seconds to six hours. A webhook is given up after more than a day. Times
are integer microseconds since the Unix epoch.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from telemetry.backoff import pause_after

SECOND = 1_000_000
FIRST_WAIT = 5 * SECOND
FACTOR = 3
LONGEST_WAIT = 6 * 3_600 * SECOND
LONGEST_RETRY_AFTER = 24 * 3_600 * SECOND
MAX_ATTEMPTS = 13
SPREAD = 0.5  # maximum jitter that is added to a wait, as a share of the wait


def next_attempt(attempts: int, now: int, retry_after: int | None, jitter: float) -> int | None:
    """Return the time of the next attempt after `attempts` failures, or None to give up.

    `attempts` is at least 1. `retry_after` is the time that the receiver asked for; it postpones
    the next attempt by at most a day. `jitter` is a number in [0, 1).
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    wait = int(pause_after(attempts, FIRST_WAIT, LONGEST_WAIT, factor=FACTOR))
    planned = now + wait + int(wait * SPREAD * jitter)
    if retry_after is None:
        return planned
    return max(planned, min(retry_after, now + LONGEST_RETRY_AFTER))


def parse_retry_after(value: str | None, now: int) -> int | None:
    """Return the time in a Retry-After header (seconds or an HTTP date); None if it is invalid."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return now + min(int(text[:12]) * SECOND, LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int((moment - datetime.fromtimestamp(0, UTC)).total_seconds() * SECOND)
    except (ValueError, TypeError, OverflowError, IndexError):  # the parser's errors on bad input
        return None
