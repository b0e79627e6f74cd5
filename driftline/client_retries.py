"""The rules for retries: which calls are sent again, and when. Pure."""

from typing import NamedTuple

from driftline.client_errors import ClientError, NoReply, Unreachable

_REFUSED = {429, 503}  # replies of a service that has not logged the request
_FIRST_PAUSE = 0.1  # seconds, doubled for each further try
LONGEST_PAUSE = 10.0  # a service that asks for a longer one is not called again


class Retries(NamedTuple):
    """The number of retries of a call, and whether sending it twice has no effect."""

    most: int
    repeatable: bool

    def pause(self, attempt: int, error: ClientError, retry_after: str = "") -> float | None:
        """Return the seconds to wait before the next try, None if there is none.

        A request that was refused, or that found no connection, was not processed. After a lost
        reply nobody knows; only a repeatable call is sent again then.
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
