"""Limit the concurrent calls of a worker, with a separate limit for methods that need no key."""

from typing import Protocol

from eventlog.errors import DriftlineError
from service.errors import Overloaded
from service.grpc.limits import MOST_OPEN_CALLS


class SlotCall(Protocol):
    """The interface of a call in a slot."""

    def evict(self, error: DriftlineError) -> None:
        """End the call with an error."""
        ...


class CallSlots:
    """The slots of concurrent calls.

    A call of a method that needs no key always gets a slot, because it can evict the oldest such
    call. So clients without a key cannot block health checks by keeping calls open.
    """

    def __init__(self, most_calls: int, most_open: int = MOST_OPEN_CALLS) -> None:
        """`most_calls` limits calls that need a key, `most_open` calls that need no key."""
        self._most_calls = most_calls
        self._most_open = most_open
        self._calls: set[SlotCall] = set()
        self._open: dict[SlotCall, None] = {}  # oldest first

    def enter(self, call: SlotCall, *, is_open: bool) -> None:
        """Give a call a slot; raises Overloaded if a call that needs a key finds no free slot."""
        if not is_open:
            if len(self._calls) >= self._most_calls:
                raise Overloaded(
                    f"{self._most_calls} concurrent calls are open, which is the limit; retry later"
                )
            self._calls.add(call)
            return
        if len(self._open) >= self._most_open:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.evict(Overloaded("the call was ended in favour of a newer call; retry"))
        self._open[call] = None

    def leave(self, call: SlotCall) -> None:
        """Free the call's slot, if it has a slot."""
        self._calls.discard(call)
        self._open.pop(call, None)
