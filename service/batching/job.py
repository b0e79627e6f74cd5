"""The jobs in a queue and the results of their runs."""

from collections.abc import Callable, Hashable
from typing import Generic, Literal, Protocol, TypeVar

import msgspec

from eventlog.errors import DriftlineError
from service.batching.merge import Array, Arrays

Ticket = TypeVar("Ticket")  # the caller's reference to a request, returned with the outputs
Result = TypeVar("Result")
Drop = Literal["cancelled", "expired"]  # the reason why a job left the queue without a run


class Job(Generic[Ticket, Result]):
    """A queued request and the callback for its outcome."""

    __slots__ = (
        "deadline",
        "done",
        "group",
        "inputs",
        "level",
        "priority",
        "queued",
        "reply",
        "rows",
        "size",
        "ticket",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913  # the properties of a request, all by name
        self,
        ticket: Ticket,
        inputs: Arrays,
        *,
        rows: int,
        size: int,
        deadline: float,
        reply: Callable[[Result | DriftlineError], None],
        priority: int = 0,
        group: Hashable = (),
    ) -> None:
        """`size` is in bytes; `deadline` is a time by the batcher's clock.

        Only jobs with the same `group` share a run.
        `priority` is the level that the client states: 1 is the highest, 0 means none.
        `reply` is called once in the event loop with the result or the error, and must not raise.
        It is a callback because an asyncio future would add an event-loop iteration per request.
        """
        self.ticket = ticket
        self.inputs = inputs
        self.rows = rows
        self.size = size
        self.deadline = deadline
        self.reply = reply
        self.priority = priority
        self.group = group
        self.level = 0  # priority level in the queue; 0 is the highest
        self.queued = 0.0  # time of arrival
        self.done = False  # whether `reply` was called or the caller has cancelled

    def finish(self, outcome: Result | DriftlineError) -> None:
        """Call `reply` with the outcome, unless it was called or the caller has cancelled."""
        if not self.done:
            self.done = True
            self.reply(outcome)


class RunResult(msgspec.Struct, frozen=True):
    """One request's part of a batch; durations are in microseconds."""

    outputs: dict[str, Array]
    batch_id: str
    batch_rows: int
    batch_offset: int
    queue_us: int
    run_us: int
    cached: bool = False  # whether the outputs are from the cache; other fields are unused then


class Queue(Protocol[Ticket, Result]):
    """The interface of a version's queue; see `Batcher` for the contract."""

    def check_capacity(self) -> None: ...
    def submit(self, job: Job[Ticket, Result]) -> None: ...
    def cancel(self, job: Job[Ticket, Result]) -> bool: ...
