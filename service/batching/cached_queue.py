"""A version's queue behind its response cache: what was answered before does not wait or run."""

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
    """A result that carries the outputs of its run."""

    @property
    def run(self) -> RunResult:
        """Return what the request got out of its batch."""
        ...


Result = TypeVar("Result", bound=Cacheable)


class Lookups(Protocol):
    """Who counts what was looked up; durations in seconds."""

    def hit(self, seconds: float) -> None:
        """An answer was found."""

    def missed(self, seconds: float) -> None:
        """None was; so long took looking for it."""

    def kept(self, seconds: float) -> None:
        """A new answer was kept; so long took that."""


class CachedQueue(Generic[Ticket, Result]):
    """Stands before a `Queue` and offers the same."""

    def __init__(
        self,
        queue: Queue[Ticket, Result],
        cache: ResponseCache,
        finish: Callable[[Sequence[tuple[Ticket, RunResult]]], Sequence[Result]],
        lookups: Lookups,
    ) -> None:
        """`finish` makes the answers of hits, which are in the log by then."""
        self._queue = queue
        self._cache = cache
        self._finish = finish
        self._lookups = lookups
        self._hits: list[tuple[Job[Ticket, Result], RunResult]] = []

    def check_capacity(self) -> None:
        """Nobody is turned away unread: a full queue does not matter to what is here."""

    def submit(self, job: Job[Ticket, Result]) -> None:
        """Answer the job at the end of this turn of the loop, or queue it; raises Overloaded."""
        started = perf_counter()
        key = key_of(job.inputs)
        outputs = self._cache.get(key)
        if outputs is None:
            self._lookups.missed(perf_counter() - started)
            job.reply = partial(self._keep, key, job.reply)
            self._queue.submit(job)
            return
        self._lookups.hit(perf_counter() - started)
        # With all others that are found in this turn: they share one write to the log.
        self._hits.append((job, RunResult(dict(outputs), "", 0, 0, 0, 0, cached=True)))
        if len(self._hits) == 1:
            asyncio.get_running_loop().call_soon(self._answer)

    def cancel(self, job: Job[Ticket, Result]) -> bool:
        """The job's caller left; whether it waited for a run."""
        return self._queue.cancel(job)

    def _keep(
        self,
        key: bytes,
        reply: Callable[[Result | DriftlineError], None],
        outcome: Result | DriftlineError,
    ) -> None:
        if not isinstance(outcome, DriftlineError):
            started = perf_counter()
            self._cache.put(key, outcome.run.outputs)
            self._lookups.kept(perf_counter() - started)
        reply(outcome)

    def _answer(self) -> None:
        hits, self._hits = self._hits, []
        told = [(job, run) for job, run in hits if not job.done]
        outcomes: Sequence[Result | DriftlineError]
        try:
            outcomes = self._finish([(job.ticket, run) for job, run in told])
        except Exception as error:  # noqa: BLE001  # a fault here must not leave callers waiting
            outcomes = [as_failure(error)] * len(told)
        for (job, _), outcome in zip(told, outcomes, strict=True):
            job.finish(outcome)
