"""A version's queue with a response cache in front; a cache hit is neither queued nor run."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from eventlog.errors import DriftlineError
from service.batching.batcher import as_failure
from service.batching.job import Job, Queue, RunResult, Ticket
from service.batching.response_cache import ResponseCache, key_of


class Cacheable(Protocol):
    """A result that contains its run's outputs."""

    @property
    def run(self) -> RunResult:
        """The run with the request's outputs."""
        ...


Result = TypeVar("Result", bound=Cacheable)


class Lookups(Protocol):
    """The interface that counts cache lookups; durations are in seconds."""

    def hit(self, seconds: float) -> None:
        """Count a hit."""

    def missed(self, seconds: float) -> None:
        """Count a miss and the duration of its lookup."""

    def stored(self, seconds: float) -> None:
        """Add the duration of storing a new entry."""


class CachedQueue(Generic[Ticket, Result]):
    """A `Queue` that answers cache hits and passes misses to another `Queue`."""

    def __init__(
        self,
        queue: Queue[Ticket, Result],
        cache: ResponseCache,
        finish: Callable[[Sequence[tuple[Ticket, RunResult]]], Sequence[Result]],
        lookups: Lookups,
        caller_of: Callable[[Ticket], bytes] = lambda _: b"",
    ) -> None:
        """`finish` logs hits and returns their results.

        Requests share cache entries only if `caller_of` returns the same value for their tickets.
        """
        self._caller_of = caller_of
        self._queue = queue
        self._cache = cache
        self._finish = finish
        self._lookups = lookups
        self._hits: list[tuple[Job[Ticket, Result], RunResult]] = []

    def check_capacity(self) -> None:
        """Do nothing, because a hit is answered even if the queue is full."""

    def submit(self, job: Job[Ticket, Result]) -> None:
        """Answer a hit at the end of this event-loop iteration; queue a miss.

        Raises Overloaded if a miss cannot be queued.
        """
        started = perf_counter()
        key = key_of(job.inputs, self._caller_of(job.ticket))
        outputs = self._cache.get(key)
        if outputs is None:
            self._lookups.missed(perf_counter() - started)
            job.reply = partial(self._store, key, job.reply)
            self._queue.submit(job)
            return
        self._lookups.hit(perf_counter() - started)
        # All hits of an event-loop iteration share one write to the log.
        self._hits.append((job, RunResult(dict(outputs), "", 0, 0, 0, 0, cached=True)))
        if len(self._hits) == 1:
            asyncio.get_running_loop().call_soon(self._answer)

    def cancel(self, job: Job[Ticket, Result]) -> bool:
        """Cancel a job; return whether it was queued."""
        return self._queue.cancel(job)

    def _store(
        self,
        key: bytes,
        reply: Callable[[Result | DriftlineError], None],
        outcome: Result | DriftlineError,
    ) -> None:
        if not isinstance(outcome, DriftlineError):
            started = perf_counter()
            self._cache.put(key, outcome.run.outputs)
            self._lookups.stored(perf_counter() - started)
        reply(outcome)

    def _answer(self) -> None:
        hits, self._hits = self._hits, []
        open_hits = [(job, run) for job, run in hits if not job.done]
        outcomes: Sequence[Result | DriftlineError]
        try:
            outcomes = self._finish([(job.ticket, run) for job, run in open_hits])
        except Exception as error:  # noqa: BLE001  # callers must wake up whatever `finish` raises
            outcomes = [as_failure(error)] * len(open_hits)
        for (job, _), outcome in zip(open_hits, outcomes, strict=True):
            job.finish(outcome)
