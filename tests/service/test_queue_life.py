"""Each job ends exactly once, and dropped jobs never run, whatever callers and clocks do."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from eventlog.errors import DriftlineError
from service.batching.admission import Admission
from service.batching.batcher import Batcher
from service.batching.job import Job, RunResult
from service.batching.merge import Arrays
from service.batching.policy import BatchPolicy
from service.errors import Expired, Overloaded, RunFailed

_TURNS = 4  # of the event loop, in which everything that can happen at once has happened
_MOST_WAITING, _MOST_BYTES, _MOST_ROWS = 6, 400, 5


class _Runner:
    """Notes which jobs met it; fails batches on command."""

    def __init__(self) -> None:
        self.met: list[int] = []
        self.fails = False

    def is_quick(self, _rows: int, _size: int) -> bool:
        return False

    def run(self, inputs: Arrays) -> dict[str, Any]:
        self.met.extend(sorted(set(inputs["x"].tolist())))
        if self.fails:
            raise RunFailed("on command")
        return {"y": inputs["x"]}


class _Held(Executor):
    """Keeps the one batch that runs until the test says that it is over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.given: list[tuple[Future[Any], Any, tuple[Any, ...]]] = []
        self._clock = clock

    def submit(self, fn: Any, /, *args: Any, **_: Any) -> Future[Any]:
        assert not self.given, "a batch started while another ran"
        (jobs,) = args
        assert all(job.deadline > self._clock() and not job.done for job in jobs)
        self.given.append((Future(), fn, args))
        return self.given[0][0]

    def release(self) -> None:
        future, fn, args = self.given.pop()
        future.set_result(fn(*args))


class QueueLife(RuleBasedStateMachine):
    """Callers come, leave and run out of time while batches end well or badly."""

    jobs = Bundle("jobs")
    levels = 1  # of priority

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 0.0
        self.runner, self.executor = _Runner(), _Held(lambda: self.now)
        limits = BatchPolicy(_MOST_ROWS, levels=self.levels, default_level=self.levels)
        self.admissions = [
            Admission("tiny", _MOST_WAITING, _MOST_BYTES) for _ in range(limits.levels)
        ]
        self.drops: Counter[str] = Counter()
        self.reported: dict[int, list[Any]] = {}
        self.left: set[int] = set()
        self.left_waiting: set[int] = set()
        self.batcher: Batcher[int, int] = Batcher(
            runner=self.runner,
            finish=self._finish,
            limits=limits,
            admissions=self.admissions,
            executor=self.executor,
            batch_ids=lambda: "b",
            clock=lambda: self.now,
            count_drop=lambda why: self.drops.update([why]),
        )

    def _finish(self, batch: Sequence[tuple[int, RunResult]]) -> list[int]:
        for ticket, run in batch:
            assert set(run.outputs["y"].tolist()) == {ticket}, "another caller's rows"
        return [ticket for ticket, _ in batch]

    def _turn(self) -> None:
        async def turns() -> None:
            for _ in range(_TURNS):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    @rule(
        target=jobs,
        rows=st.integers(1, 7),
        patience=st.sampled_from([0.0, 1.0, 5.0, 1e9]),
        priority=st.integers(0, 4),
    )
    def submit(self, rows: int, patience: float, priority: int) -> Job[int, int] | None:
        """A caller sends a request."""
        number = len(self.reported)
        heard = self.reported[number] = []
        array = np.full(rows, number)
        job: Job[int, int] = Job(
            number,
            {"x": array},
            rows=rows,
            size=array.nbytes,
            deadline=self.now + patience,
            reply=heard.append,
            priority=priority,
        )

        async def ask() -> None:
            self.batcher.submit(job)

        waiting = self.batcher.waiting
        try:
            self.loop.run_until_complete(ask())
        except Overloaded:
            assert waiting
            heard.append("refused")
            return None
        return job

    @rule(job=jobs)
    def leave(self, job: Job[int, int] | None) -> None:
        """A caller cancels, perhaps after the answer."""
        if job is None or job.done:
            return
        self.left.add(job.ticket)
        if self.batcher.cancel(job):
            self.left_waiting.add(job.ticket)
            assert job.ticket not in self.runner.met

    @rule(seconds=st.sampled_from([0.5, 2.0, 10.0]))
    def pass_time(self, seconds: float) -> None:
        """The clock moves; nothing else happens."""
        self.now += seconds

    @rule()
    def turn(self) -> None:
        """The event loop does what is due."""
        self._turn()

    @rule(most=st.integers(1, _MOST_WAITING), rows=st.integers(1, _MOST_ROWS))
    def tune(self, most: int, rows: int) -> None:
        """Other limits; what waits stays."""

        async def change() -> None:
            self.admissions = [Admission("tiny", most, _MOST_BYTES) for _ in range(self.levels)]
            limits = BatchPolicy(rows, levels=self.levels, default_level=self.levels)
            self.batcher.tune(limits, self.admissions)

        self.loop.run_until_complete(change())

    @precondition(lambda self: self.executor.given)
    @rule(fails=st.booleans())
    def end_a_batch(self, fails: bool) -> None:
        """The run is over."""
        self.runner.fails = fails
        self.executor.release()
        self._turn()

    @invariant()
    def the_dropped_never_ran(self) -> None:
        """Neither who left while waiting nor who ran out of time met the runner."""
        expired = {
            n for n, heard in self.reported.items() if any(isinstance(h, Expired) for h in heard)
        }
        dropped = expired | self.left_waiting
        assert dropped.isdisjoint(self.runner.met)
        assert self.drops == Counter({"expired": len(expired), "cancelled": len(self.left_waiting)})

    @invariant()
    def nobody_hears_twice(self) -> None:
        """One outcome each, and none for who left."""
        assert all(len(heard) <= 1 for heard in self.reported.values())
        assert not any(self.reported[number] for number in self.left)

    @invariant()
    def the_door_counts_what_waits(self) -> None:
        """Requests, and nothing below zero."""
        assert sum(admission.requests for admission in self.admissions) == self.batcher.waiting
        for admission in self.admissions:
            assert admission.requests <= _MOST_WAITING
            assert admission.size >= admission.rows >= admission.requests

    def teardown(self) -> None:
        """In the end everybody has heard, but those who left, and nothing is left behind."""
        self.runner.fails = False
        self._turn()
        while self.executor.given:
            self.executor.release()
            self._turn()
        heard = {number for number, outcomes in self.reported.items() if outcomes}
        assert heard == self.reported.keys() - self.left
        for number, outcomes in self.reported.items():
            assert all(o in (number, "refused") or isinstance(o, DriftlineError) for o in outcomes)
        assert self.batcher.waiting == 0
        assert {
            (admission.requests, admission.rows, admission.size) for admission in self.admissions
        } == {(0, 0, 0)}
        self.loop.close()


class RankedQueueLife(QueueLife):
    """The same where some go first."""

    levels = 3


TestQueueLife = QueueLife.TestCase
TestRankedQueueLife = RankedQueueLife.TestCase
