"""Create the Call of each request on reception."""

import time
from collections.abc import Callable

from eventlog.events import Protocol
from service.call import UNLIMITED, Call
from service.telemetry.traceparent import read_traceparent
from service.telemetry.tracing import RequestSpan
from telemetry.clock import now_us
from telemetry.tracing import Tracing


class CallFactory:
    """Stamp calls with their time of receipt, deadline and trace."""

    def __init__(
        self,
        timeout_s: float,
        tracing: Tracing | None = None,
        clock: Callable[[], float] = time.perf_counter,
        now: Callable[[], int] = now_us,
        event_time_ahead: int = UNLIMITED,
    ) -> None:
        """`timeout_s` bounds every request; `clock` reads seconds, `now` epoch microseconds.

        A request may state an event time at most `event_time_ahead` microseconds after its receipt.
        """
        self._event_time_ahead = event_time_ahead
        self._timeout_s = timeout_s
        self._tracing = tracing
        self._clock = clock
        self._now = now

    def __call__(  # noqa: PLR0913, PLR0917  # what a transport knows of a request
        self,
        protocol: Protocol,
        model: str,
        selector: str,
        traceparent: str = "",
        seconds_left: float | None = None,
        routing_key: str = "",
    ) -> Call:
        """Return a call received now; the client's `seconds_left` can only shorten the timeout."""
        started = self._clock()
        timeout = self._timeout_s
        parent = read_traceparent(traceparent) if traceparent else ""
        trace = None
        if self._tracing is not None:
            parent, trace = RequestSpan.begin(self._tracing, parent)
        return Call(
            protocol=protocol,
            model=model,
            selector=selector,
            received=self._now(),
            started=started,
            deadline=started + (timeout if seconds_left is None else min(timeout, seconds_left)),
            traceparent=parent,
            routing_key=routing_key,
            trace=trace,
            event_time_ahead=self._event_time_ahead,
        )
