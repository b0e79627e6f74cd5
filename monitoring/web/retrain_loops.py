"""The retraining requests of every model, and what came of them."""

import asyncio
import threading
from collections.abc import Callable, Iterator

from monitoring.presenter.retrain_loop import RequestFacts, RetrainLoop, follow
from monitoring.web.queries import Queries
from monitoring.webhooks.body import read_retrain_request
from registry.errors import RegistryError
from registry.history.state import LifecycleState
from registry.history.store import History
from telemetry.clock import now_us


class RetrainLoops:
    """Join the monitor's requests with the registry's history; safe across threads."""

    def __init__(
        self, history: History, answer_within: int, clock: Callable[[], int] = now_us
    ) -> None:
        """`answer_within` is in microseconds; 0: no request is overdue."""
        self._history = history
        self._answer_within = answer_within
        self._clock = clock
        self._lock = threading.Lock()
        self._revision = -1
        self._states: dict[str, LifecycleState] = {}

    async def read(self, findings: Queries) -> list[RetrainLoop]:
        """Return every loop, newest first; while the registry is down, as it was last read."""
        facts = list(requests_of(findings))
        models = {one.request.model for one in facts}
        states = await asyncio.to_thread(self._read_states, models) if models else {}
        return [self._follow(one, states.get(one.request.model)) for one in facts]

    def _follow(self, facts: RequestFacts, state: LifecycleState | None) -> RetrainLoop:
        now = self._clock()
        try:
            return follow(facts, state, now, self._answer_within)
        except RegistryError:  # a damaged row: driftline audit verify names it
            return follow(facts, None, now, self._answer_within)

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


def requests_of(findings: Queries) -> Iterator[RequestFacts]:
    """Yield the requests of the outbox, newest first."""
    deliveries = findings.deliveries()
    alarms = {alarm.alarm_id: alarm for alarm in findings.alarms()} if deliveries else {}
    replaced: set[str] = set()
    for delivery in deliveries:
        request = read_retrain_request(delivery.body)
        if request is None:
            continue
        alarm = alarms.get(request.alarm_id)
        yield RequestFacts(delivery, request, alarm, request.model in replaced)
        replaced.add(request.model)
