"""Find the retraining requests in the outbox that still await their candidate."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from monitoring.presenter.retrain_loop import RequestFacts, retrain_loop
from monitoring.results import Alarm, Delivery
from monitoring.webhooks.body import read_retrain_request
from registry.history.lifecycle import LifecycleState


def requests_of(
    deliveries: Sequence[Delivery], alarm: Callable[[str], Alarm | None]
) -> Iterator[RequestFacts]:
    """Yield the retraining requests among deliveries (newest first); `alarm` finds alarms by id."""
    replaced: set[str] = set()
    for delivery in deliveries:
        request = read_retrain_request(delivery.body)
        if request is None:
            continue
        cause = alarm(request.alarm_id) if request.alarm_id else None
        yield RequestFacts(delivery, request, cause, request.model in replaced)
        replaced.add(request.model)


def open_request(
    facts: Iterable[RequestFacts],
    state: LifecycleState,
    now: int,
    answer_within: int,
    *,
    delivers: bool,
) -> str:
    """Return the id of a model's request that awaits delivery or a candidate, or "".

    A request older than `answer_within` (microseconds; 0: no limit) is not open: an alert reports
    it, and a pipeline that has lost it must not block the schedule. Without a receiver (`delivers`
    is False), a request that awaits delivery is not open, because a later request replaces it.
    """
    awaited = {"request", "candidate"} if delivers else {"candidate"}
    for request_facts in facts:
        loop = retrain_loop(request_facts, state, now, answer_within)
        is_recent = not answer_within or now - loop.created <= answer_within
        if loop.awaited in awaited and not loop.candidate and is_recent:
            return loop.request
    return ""
