"""Create the `Call` of each request when it is received."""

import time
from collections.abc import Callable

from eventlog.events import Protocol
from service.call import UNLIMITED, Call
from service.telemetry.traceparent import read_traceparent
from service.telemetry.tracing import RequestSpan
from telemetry.clock import now_us
from telemetry.tracing import Tracing


class CallFactory:
    """A factory of calls with reception time, deadline and trace."""

    def __init__(
        self,
        timeout_s: float,
        tracing: Tracing | None = None,
        clock: Callable[[], float] = time.perf_counter,
        now: Callable[[], int] = now_us,
        event_time_ahead: int = UNLIMITED,
    ) -> None:
        """`timeout_s` is the timeout of every request.

        `clock` returns seconds, `now` microseconds since the epoch. The event time of a request may
        be at most `event_time_ahead` microseconds after its reception.
        """
        self._event_time_ahead = event_time_ahead
        self._timeout_s = timeout_s
        self._tracing = tracing
        self._clock = clock
        self._now = now

    def __call__(  # noqa: PLR0913, PLR0917  # the properties of a request before it is decoded
        self,
        protocol: Protocol,
        model: str,
        selector: str,
        traceparent: str = "",
        seconds_left: float | None = None,
        routing_key: str = "",
    ) -> Call:
        """Return a call received now; the client's `seconds_left` can shorten its timeout."""
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
