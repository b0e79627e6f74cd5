"""The rules for retries: which calls are sent again, and after which pause."""

from typing import NamedTuple

from driftline.client_errors import ClientError, NoReply, Unreachable

_REFUSED = {429, 503}  # statuses of requests that the service has not logged
_FIRST_PAUSE = 0.1  # seconds, doubled for each further try
LONGEST_PAUSE = 10.0  # seconds; if the service asks for a longer pause, the call is not retried


class Retries(NamedTuple):
    """The maximum number of retries, and whether a second identical call has no effect."""

    most: int
    repeatable: bool

    def pause(self, attempt: int, error: ClientError, retry_after: str = "") -> float | None:
        """Return the seconds to wait before the next try, or None if the call is not retried.

        A refused or unsent request was not processed, so a retry is safe. After a lost reply this
        is unknown, so only a repeatable call is retried.
        """
        safe = (
            isinstance(error, Unreachable)
            or error.status in _REFUSED
            or (isinstance(error, NoReply) and self.repeatable)
        )
        if not safe or attempt >= self.most:
            return None
        requested = float(retry_after) if retry_after.isdecimal() else 0.0
        pause = max(requested, _FIRST_PAUSE * 2**attempt)
        return pause if pause <= LONGEST_PAUSE else None
