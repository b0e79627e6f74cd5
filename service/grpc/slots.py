"""Bound the concurrent calls of a worker, with a separate limit for calls without a key."""

from typing import Protocol

from eventlog.errors import DriftlineError
from service.errors import Overloaded
from service.grpc.limits import MOST_OPEN_CALLS


class SlotCall(Protocol):
    """A call as the slots use it."""

    def evict(self, error: DriftlineError) -> None:
        """End the call with an error; it leaves its slot."""
        ...


class CallSlots:
    """Count concurrent calls.

    A call of an open method always gets a slot: the oldest such call makes way. Health is therefore
    answered however many calls strangers leave open.
    """

    def __init__(self, most_calls: int, most_open: int = MOST_OPEN_CALLS) -> None:
        """`most_calls` bounds calls that need a key, `most_open` those that need none."""
        self._most_calls = most_calls
        self._most_open = most_open
        self._calls: set[SlotCall] = set()
        self._open: dict[SlotCall, None] = {}  # oldest first

    def enter(self, call: SlotCall, *, is_open: bool) -> None:
        """Take a slot; raises Overloaded if a call that needs a key finds none."""
        if not is_open:
            if len(self._calls) >= self._most_calls:
                raise Overloaded(
                    f"{self._most_calls} concurrent calls are open, the limit; retry later"
                )
            self._calls.add(call)
            return
        if len(self._open) >= self._most_open:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.evict(Overloaded("the call made way for a newer one; retry, or use a key"))
        self._open[call] = None

    def leave(self, call: SlotCall) -> None:
        """Free the slot of a call, if it has one."""
        self._calls.discard(call)
        self._open.pop(call, None)
