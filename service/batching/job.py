"""The items of a queue and the results of a run."""

from collections.abc import Callable, Hashable
from typing import Generic, Literal, Protocol, TypeVar

import msgspec

from eventlog.errors import DriftlineError
from service.batching.merge import Array, Arrays

Ticket = TypeVar("Ticket")  # the caller's own reference to a request, returned with the outputs
Result = TypeVar("Result")
Drop = Literal["cancelled", "expired"]  # why a job left the queue and never ran


class Job(Generic[Ticket, Result]):
    """One queued request and the callback for its outcome."""

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

    def __init__(  # noqa: PLR0913  # what a queue must know of a request, all by name
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
        """`size` is in bytes; `deadline` is a reading of the batcher's clock.

        Only jobs of equal `group` share a run.

        `priority` is the level that the client states, 1 the highest, or 0 for none.

        `reply` is called once, in the event loop, with the result or the error, and must not raise.
        It is a callback because an asyncio future costs each request a loop iteration.
        """
        self.ticket = ticket
        self.inputs = inputs
        self.rows = rows
        self.size = size
        self.deadline = deadline
        self.reply = reply
        self.priority = priority
        self.group = group
        self.level = 0  # level as the queue counts it
        self.queued = 0.0
        self.done = False  # replied to, or abandoned by its caller

    def finish(self, outcome: Result | DriftlineError) -> None:
        """Report the outcome, unless the job is done or cancelled."""
        if not self.done:
            self.done = True
            self.reply(outcome)


class RunResult(msgspec.Struct, frozen=True):
    """One request's part of a batch; durations in microseconds."""

    outputs: dict[str, Array]
    batch_id: str
    batch_rows: int
    batch_offset: int
    queue_us: int
    run_us: int
    cached: bool = False  # nothing ran for it; then the four above mean nothing


class Queue(Protocol[Ticket, Result]):
    """The queue of a version's requests; see `Batcher` for the contract."""

    def check_capacity(self) -> None: ...
    def submit(self, job: Job[Ticket, Result]) -> None: ...
    def cancel(self, job: Job[Ticket, Result]) -> bool: ...
