"""The retraining requests of every model with their outcomes, and the retraining schedules."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from monitoring.alarms.retrain_schedule import ScheduleProgress
from monitoring.presenter.retrain_loop import RequestFacts, RetrainLoop, retrain_loop
from monitoring.presenter.schedule_text import ScheduleView, schedule_view
from monitoring.retrain.open_requests import requests_of
from monitoring.web.queries import Queries
from registry.errors import RegistryError
from registry.history.lifecycle import LifecycleState
from registry.history.store import History
from telemetry.clock import now_us

LATEST = 8  # requests on a page and in the terminal


class Retraining(NamedTuple):
    """The retraining requests, newest first, and the retraining schedules of all models."""

    loops: Sequence[RetrainLoop] = ()
    schedules: Sequence[ScheduleView] = ()


NO_RETRAINING = Retraining()


class RetrainLoops:
    """Joins the monitor's retraining requests with the registry's history; thread-safe."""

    def __init__(
        self, history: History, answer_within: int, clock: Callable[[], int] = now_us
    ) -> None:
        """Mark requests as overdue after `answer_within` microseconds; 0: never."""
        self._history = history
        self._answer_within = answer_within
        self._clock = clock
        self._lock = threading.Lock()
        self._revision = -1
        self._states: dict[str, LifecycleState] = {}

    async def read(self, store: Queries) -> list[RetrainLoop]:
        """Return every request, newest first; if the registry is down, use its last known state."""
        facts = list(_requests(store))
        models = {request_facts.request.model for request_facts in facts}
        states = await asyncio.to_thread(self._read_states, models) if models else {}
        return [
            self._loop(request_facts, states.get(request_facts.request.model))
            for request_facts in facts
        ]

    def read_now(self, store: Queries) -> list[RetrainLoop]:
        """Return every request like `read`, but block; for commands."""
        facts = list(_requests(store))
        states = (
            self._read_states({request_facts.request.model for request_facts in facts})
            if facts
            else {}
        )
        return [
            self._loop(request_facts, states.get(request_facts.request.model))
            for request_facts in facts
        ]

    async def read_schedules(self, store: Queries) -> list[ScheduleView]:
        """Return every model's schedule, without blocking the event loop."""
        return await asyncio.to_thread(self.schedules, store)

    def schedules(self, store: Queries) -> list[ScheduleView]:
        """Return every model's schedule; empty if the registry cannot be read."""
        try:
            models = self._history.models("schedule")
        except RegistryError:
            return []
        states = self._read_states(models) if models else {}
        progress = store.schedules() if models else {}
        views = []
        for model in sorted(states.keys() & models):
            row = states[model].schedule
            if row is not None:
                decisions = progress.get(model, ScheduleProgress())
                views.append(schedule_view(model, row, decisions, self._clock()))
        return [view for view in views if view is not None]

    def _loop(self, facts: RequestFacts, state: LifecycleState | None) -> RetrainLoop:
        now = self._clock()
        try:
            return retrain_loop(facts, state, now, self._answer_within)
        except RegistryError:  # a damaged row, which `driftline audit verify` reports
            return retrain_loop(facts, None, now, self._answer_within)

    def _read_states(self, models: set[str]) -> dict[str, LifecycleState]:
        with self._lock:
            try:
                revision = self._history.revision()
                if revision != self._revision:
                    self._states = {}
                for model in models - self._states.keys():
                    self._states[model] = self._history.state(model)
                self._revision = revision
            except RegistryError:
                self._revision = -1
            return dict(self._states)


def _requests(store: Queries) -> Iterator[RequestFacts]:
    deliveries = store.deliveries()
    alarms = {alarm.alarm_id: alarm for alarm in store.alarms()} if deliveries else {}
    return requests_of(deliveries, alarms.get)
