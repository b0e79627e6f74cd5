"""The queue of one model version, which merges the requests that arrive while the runner is busy.

An idle runner starts at the end of the event-loop iteration, with all requests of the iteration. A
single request is therefore not delayed. Simultaneous requests share one run, one append to the log
and one wake-up.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from functools import partial
from math import inf
from typing import Generic, Protocol, TypeVar

from eventlog.errors import DriftlineError
from service.batching.admission import Admission
from service.batching.job import Drop, Job, Result, RunResult, Ticket
from service.batching.merge import Array, Arrays, merge, offsets, split
from service.batching.order import AgingQueue, FifoQueue
from service.batching.policy import BatchPolicy, WaitUntil, decide
from service.errors import (
    Expired,
    InvalidRequest,
    OutOfMemory,
    ProcessDied,
    RunFailed,
    ValuesRefused,
)

_logger = logging.getLogger(__name__)

Ticket_contra = TypeVar("Ticket_contra", contravariant=True)


class Runner(Protocol):
    """The interface that executes batches."""

    def is_quick(self, rows: int, size: int) -> bool:
        """Return whether a run of `rows` rows and `size` bytes should stay in the event loop."""
        ...

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Compute all outputs by name in the calling thread; raises ServingError."""
        ...


class StoppableRun(Protocol):
    """A use of the runner that another thread can stop."""

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        ...

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Compute like `Runner.run`; raises an error soon after `stop` was called."""
        ...

    def stop(self) -> None:
        """Stop the current run and refuse further runs."""
        ...


class RunsInFlight(Protocol[Ticket_contra]):
    """The interface that records the runs in flight, for the case that the process dies."""

    def begin(self, tickets: Sequence[Ticket_contra]) -> int:
        """Record a run of these tickets in the calling thread; return the run's token."""
        ...

    def enter(self, run: int) -> None:
        """Record that the calling thread executes the run."""
        ...

    def end(self, run: int) -> None:
        """Remove a run whose results are logged."""
        ...


class UnrecordedRuns:
    """An implementation of `RunsInFlight` that records nothing."""

    def begin(self, tickets: Sequence[object]) -> int:  # noqa: ARG002
        """Return a token without meaning."""
        return 0

    def enter(self, run: int) -> None:
        """Do nothing."""

    def end(self, run: int) -> None:
        """Do nothing."""


_UNRECORDED = UnrecordedRuns()
Finish = Callable[[Sequence[tuple[Ticket, RunResult]]], Sequence[Result]]


class Batcher(Generic[Ticket, Result]):
    """The queue of one version; belongs to one event loop, and only runs use other threads."""

    def __init__(  # noqa: PLR0913  # the interfaces and limits of one queue, all by name
        self,
        *,
        runner: Runner,
        finish: Finish[Ticket, Result],
        limits: BatchPolicy,
        admissions: Sequence[Admission],
        executor: Executor,
        batch_ids: Callable[[], str],
        clock: Callable[[], float] = time.perf_counter,
        new_run: Callable[[], StoppableRun] | None = None,
        runs: RunsInFlight[Ticket] = _UNRECORDED,
        check: Callable[[Arrays, int], None] = lambda _outputs, _rows: None,
        count_drop: Callable[[Drop], None] = lambda _: None,
        count_batch: Callable[[int, int], None] = lambda _rows, _queued: None,
    ) -> None:
        """Create an empty queue.

        `finish` returns a batch's results; callers wake up afterwards.
        `admissions` has one item per priority level, the highest level first.
        `new_run` makes runs in the executor stoppable; they stop at the batch's last deadline.
        `runs` records every run from its start until its results are finished.
        `check` raises an error if outputs do not fit a request's rows; any thread can call it.
        `count_drop` is called for every job that leaves the queue without a run.
        `count_batch` is called for every answered batch with its rows and the queue's length.
        """
        self._runner = runner
        self._finish = finish
        self._limits = limits
        self._admissions = admissions
        self._executor = executor
        self._batch_ids = batch_ids
        self._clock = clock
        self._new_run = new_run
        self._check = check
        self._runs = runs
        self._count_drop = count_drop
        self._count_batch = count_batch
        self._queue = self._empty_queue()
        self._varied = False  # whether queued jobs may belong to several groups
        self._busy = False
        self._wake_up: asyncio.Handle | None = None
        self._fills_until = -inf  # time until which the next batch waits for more jobs
        self._started = 0.0  # time when the running batch left the queue
        self._first_deadline = inf  # lower bound of all queued jobs' deadlines

    @property
    def waiting(self) -> int:
        """Number of queued requests."""
        return len(self._queue)

    def check_capacity(self) -> None:
        """Raise Overloaded if every job would be refused now; call it before parsing a body."""
        if len(self._admissions) == 1:
            self._admissions[0].check_capacity()

    def submit(self, job: Job[Ticket, Result]) -> None:
        """Queue the job; raises Overloaded if the queue is full."""
        if len(self._admissions) > 1:
            job.level = self._limits.level(job.priority)
        self._admissions[job.level].admit(job.size, job.rows)
        job.queued = self._clock()
        self._first_deadline = min(self._first_deadline, job.deadline)
        self._queue.append(job)
        self._varied |= job.group != ()
        if self._busy:
            return
        if self._wake_up is None:
            self._wake_up = asyncio.get_running_loop().call_soon(self._next)
        elif self._fills_until > -inf and (
            self._limits.full(self._rows, self._size) or job.deadline <= self._fills_until
        ):
            self._decide_now()

    def tune(self, limits: BatchPolicy, admissions: Sequence[Admission]) -> None:
        """Replace the limits; queued jobs stay queued even if they exceed the new limits."""
        waiting = sorted(self._queue, key=lambda job: job.queued)
        admissions[0].row_seconds = self._admissions[0].row_seconds
        self._limits = limits
        self._admissions = admissions
        self._queue = self._empty_queue()
        for job in waiting:
            job.level = limits.level(job.priority)
            admissions[job.level].enter(job.size, job.rows)
            self._queue.append(job)
        if self._fills_until > -inf:  # computed from the old limits
            self._decide_now()

    def cancel(self, job: Job[Ticket, Result]) -> bool:
        """Remove a job from the queue, or discard its result if it is running.

        Returns whether the job was queued.
        """
        job.done = True
        try:
            self._queue.remove(job)
        except ValueError:  # the job is already running
            return False
        self._drop(job, "cancelled")
        return True

    def _next(self) -> None:
        """Start the next batch, or schedule a wake-up if the policy waits for more requests."""
        self._wake_up, self._fills_until = None, -inf
        now = self._clock()
        if now >= self._first_deadline:
            self._expire(now)
        if not self._queue:
            return
        jobs = self._choose_group(now) if self._varied else self._choose(now)
        loop = asyncio.get_running_loop()
        if isinstance(jobs, WaitUntil):
            self._wake_up = loop.call_later(jobs.time - now, self._next)
            self._fills_until = jobs.time
            return
        self._started = now
        rows = _rows(jobs)
        if self._runner.is_quick(rows, sum([job.size for job in jobs])):
            run = self._runs.begin([job.ticket for job in jobs])
            self._complete(jobs, self._execute(jobs))
            self._runs.end(run)
            self._admissions[0].record_batch(rows, self._clock() - now)
        else:
            self._run_in_thread(jobs, now)

    def _choose(self, now: float) -> list[Job[Ticket, Result]] | WaitUntil:
        """Remove the jobs of the next batch from the queue, or return when to decide again."""
        if len(self._queue) == 1 and not self._limits.max_delay:
            return [self._pop()]  # the same result as `decide`, at a tenth of the cost
        sizes = ((job.rows, job.size) for job in self._queue)
        decision = decide(sizes, self._queue.oldest, now, self._limits, self._first_deadline)
        if isinstance(decision, WaitUntil):
            return decision
        return [self._pop() for _ in range(decision.count)]

    def _choose_group(self, now: float) -> list[Job[Ticket, Result]] | WaitUntil:
        """Do the same as `_choose` for the first group of jobs that need not wait."""
        groups: dict[Hashable, list[Job[Ticket, Result]]] = {}
        for job in self._queue:
            groups.setdefault(job.group, []).append(job)
        ends = []
        for jobs in groups.values():
            sizes, oldest = ((job.rows, job.size) for job in jobs), min(job.queued for job in jobs)
            decision = decide(sizes, oldest, now, self._limits, self._first_deadline)
            if isinstance(decision, WaitUntil):
                ends.append(decision.time)
                continue
            for job in jobs[: decision.count]:
                self._queue.remove(job)
                self._admissions[job.level].leave(job.size, job.rows)
            return jobs[: decision.count]
        return WaitUntil(min(ends))

    def _run_in_thread(self, jobs: list[Job[Ticket, Result]], now: float) -> None:
        self._busy = True
        loop = asyncio.get_running_loop()
        stoppable, timer = None, None
        deadline = max(job.deadline for job in jobs)
        if self._new_run is not None and deadline < inf:
            stoppable = self._new_run()
            timer = loop.call_later(deadline - now, stoppable.stop)
        run = self._runs.begin([job.ticket for job in jobs])
        execute = partial(self._execute_in_thread, run, stoppable)
        running = loop.run_in_executor(self._executor, execute, jobs)

        def complete(done: "asyncio.Future[list[RunResult | DriftlineError]]") -> None:
            if timer is not None:
                timer.cancel()
            self._complete_run(jobs, done.result())
            self._runs.end(run)

        running.add_done_callback(complete)

    def _expire(self, now: float) -> None:
        """Remove the requests whose deadline has passed."""
        waiting, self._queue = self._queue, self._empty_queue()
        self._first_deadline = inf
        for job in waiting:
            if job.deadline <= now:
                self._drop(job, "expired")
                job.finish(Expired("the deadline passed while the request was queued"))
            else:
                self._first_deadline = min(self._first_deadline, job.deadline)
                self._queue.append(job)

    def _drop(self, job: Job[Ticket, Result], reason: Drop) -> None:
        self._admissions[job.level].leave(job.size, job.rows)
        self._count_drop(reason)

    def _empty_queue(self) -> FifoQueue[Job[Ticket, Result]] | AgingQueue[Job[Ticket, Result]]:
        levels = self._limits.levels
        return FifoQueue() if levels == 1 else AgingQueue(levels, self._limits.step)

    def _pop(self) -> Job[Ticket, Result]:
        job = self._queue.popleft()
        self._admissions[job.level].leave(job.size, job.rows)
        return job

    def _execute_in_thread(
        self, run: int, stoppable: StoppableRun | None, jobs: Sequence[Job[Ticket, Result]]
    ) -> list[RunResult | DriftlineError]:
        self._runs.enter(run)
        return self._execute(jobs, stoppable)

    def _execute(
        self, jobs: Sequence[Job[Ticket, Result]], stoppable: StoppableRun | None = None
    ) -> list[RunResult | DriftlineError]:
        """Run the jobs as one batch; if it fails, run them one by one. Any thread can call this."""
        if len(jobs) == 1:
            return [self._execute_alone(jobs[0], stoppable)]
        started = self._clock()
        try:
            outputs = (stoppable or self._runner).run(merge([job.inputs for job in jobs]))
            run_us = round((self._clock() - started) * 1e6)
            rows = [job.rows for job in jobs]
            parts = split(outputs, rows)
            for part, size in zip(parts, rows, strict=True):
                self._check(part, size)
        except Exception as error:  # noqa: BLE001  # callers must wake up whatever a run raises
            if stoppable is not None and stoppable.stopped:
                return [_stopped()] * len(jobs)
            # Running the jobs one by one could end the isolated model's process again.
            if isinstance(error, ProcessDied):
                return [error] * len(jobs)
            return [self._execute_alone(job, stoppable) for job in jobs]
        batch_id = self._batch_ids()
        return [
            RunResult(
                part, batch_id, sum(rows), offset, round((started - job.queued) * 1e6), run_us
            )
            for job, part, offset in zip(jobs, parts, offsets(rows), strict=True)
        ]

    def _execute_alone(
        self, job: Job[Ticket, Result], stoppable: StoppableRun | None
    ) -> RunResult | DriftlineError:
        started = self._clock()
        try:
            outputs = _run_alone((stoppable or self._runner).run, job.inputs)
            run_us = round((self._clock() - started) * 1e6)
            self._check(outputs, job.rows)
        except Exception as error:  # noqa: BLE001  # callers must wake up whatever a run raises
            stopped = stoppable is not None and stoppable.stopped
            return _stopped() if stopped else as_failure(error)
        queue_us = round((started - job.queued) * 1e6)
        return RunResult(outputs, self._batch_ids(), job.rows, 0, queue_us, run_us)

    def _complete_run(
        self, jobs: Sequence[Job[Ticket, Result]], outcomes: Sequence[RunResult | DriftlineError]
    ) -> None:
        """Start the next batch in a thread, then wake the callers of the finished batch."""
        self._busy = False
        self._admissions[0].record_batch(_rows(jobs), self._clock() - self._started)
        if self._queue and self._wake_up is None and not self._is_next_quick():
            self._next()
        self._complete(jobs, outcomes)

    def _is_next_quick(self) -> bool:
        return self._runner.is_quick(min(self._rows, self._limits.max_rows), self._size)

    @property
    def _rows(self) -> int:
        """The number of rows of all queued requests."""
        return sum([admission.rows for admission in self._admissions])

    @property
    def _size(self) -> int:
        """The number of bytes of all queued requests."""
        return sum([admission.size for admission in self._admissions])

    def _decide_now(self) -> None:
        """Apply the policy again now, because the batch is full or the limits have changed."""
        assert self._wake_up is not None
        self._wake_up.cancel()
        self._wake_up = asyncio.get_running_loop().call_soon(self._next)
        self._fills_until = -inf

    def _complete(
        self, jobs: Sequence[Job[Ticket, Result]], outcomes: Sequence[RunResult | DriftlineError]
    ) -> None:
        """Wake the callers that have not cancelled, and schedule the next batch."""
        answered: list[tuple[Job[Ticket, Result], RunResult]] = []
        for job, outcome in zip(jobs, outcomes, strict=True):
            if not isinstance(outcome, RunResult):
                job.finish(outcome)
            elif not job.done:
                answered.append((job, outcome))
        self._reply(answered)
        if self._queue and not self._busy and self._wake_up is None:
            self._wake_up = asyncio.get_running_loop().call_soon(self._next)

    def _reply(self, answered: Sequence[tuple[Job[Ticket, Result], RunResult]]) -> None:
        try:
            results = self._finish([(job.ticket, run) for job, run in answered])
        except Exception as error:  # noqa: BLE001  # callers must wake up whatever `finish` raises
            for job, _ in answered:
                job.finish(as_failure(error))
        else:
            self._count_batch(_rows([job for job, _ in answered]), len(self._queue))
            for (job, _), result in zip(answered, results, strict=True):
                job.finish(result)


def _run_alone(run: Callable[[Arrays], dict[str, Array]], inputs: Arrays) -> dict[str, Array]:
    """Run one request; raises InvalidRequest if it fails twice with the same error."""
    try:
        return run(inputs)
    except ValuesRefused as error:
        first = error
    try:
        return run(inputs)
    except ValuesRefused as again:
        if again.detail != first.detail:
            raise
    _logger.info("the model refused its inputs: %s", first.detail)
    raise InvalidRequest(
        "the model cannot run on these values; expected values like those it was trained on"
    )


def _stopped() -> Expired:
    return Expired("the deadline passed during the run, which was stopped")


def _rows(jobs: Sequence[Job[Ticket, Result]]) -> int:
    return sum([job.rows for job in jobs])


def as_failure(error: Exception) -> DriftlineError:
    """Return the error to report; log an unexpected error and hide its details."""
    if isinstance(error, DriftlineError):
        return error
    _logger.error("a batch failed", exc_info=error)
    if isinstance(error, MemoryError):
        return OutOfMemory("the batch needs more memory than the worker's limit allows")
    return RunFailed("the run failed; see the server's log")
