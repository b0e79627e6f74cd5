"""Create OpenTelemetry spans and export them. Other server modules do not import OpenTelemetry.

Tracing is off unless OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set to
the URL of an OTLP/HTTP collector. OpenTelemetry's other variables, such as OTEL_TRACES_SAMPLER,
apply too. The trace context is passed as a W3C `traceparent`. Spans contain names, numbers and
ids, but no content of requests or replies.
"""

import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import SpanContext, Tracer

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int | float | bool]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SAMPLED = 1  # bit of the trace flags
_CLOSE_TIMEOUT_S = 2.0


def is_sampled(traceparent: str) -> bool:
    """Return whether the trace of a valid `traceparent` is sampled; False for ""."""
    return bool(traceparent) and int(traceparent[-2:], 16) & _SAMPLED == _SAMPLED


class Span:
    """One span; times are nanoseconds since the epoch."""

    def __init__(self, span: "OtelSpan", tracer: "Tracer") -> None:
        self._span = span
        self._tracer = tracer

    @property
    def traceparent(self) -> str:
        """Return the W3C `traceparent` of this span."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    @property
    def recorded(self) -> bool:
        """Return whether the span is recorded."""
        return self._span.is_recording()

    def child(self, name: str, start: int, end: int, attributes: Attributes) -> None:
        """Add a completed child span."""
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415

        inner = self._tracer.start_span(
            name, set_span_in_context(self._span), start_time=start, attributes=dict(attributes)
        )
        inner.end(end)

    def end(self, time: int, attributes: Attributes, error: str = "") -> None:
        """End the span; `error` names the kind of a failure."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        self._span.set_attributes(dict(attributes))
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(time)


class Tracing:
    """Create spans and export them in a background thread."""

    def __init__(self, process: str, exporter: "SpanExporter") -> None:
        """`process` is service, forwarder or monitor."""
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        defaults = {"service.namespace": "driftline", "service.name": f"driftline-{process}"}
        # OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME override the default names.
        resource = Resource.create(defaults).merge(OTELResourceDetector().detect())
        # Do not use the global provider: BentoML owns it.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("driftline")

    @classmethod
    def configured(cls, process: str, environ: Mapping[str, str] = os.environ) -> "Tracing | None":
        """Create tracing from the environment; return None if no endpoint is set."""
        off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        if off or not any(environ.get(name) for name in _ENDPOINTS):
            return None
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )

        return cls(process, OTLPSpanExporter())

    def begin(
        self,
        name: str,
        kind: Kind,
        start: int,
        parent: str = "",
        links: Sequence[str] = (),
    ) -> Span:
        """Start a span; `parent` and `links` are traceparents, `start` is in nanoseconds."""
        from opentelemetry.trace import Link, SpanKind  # noqa: PLC0415

        span = self._tracer.start_span(
            name,
            _context(parent),
            SpanKind[kind.upper()],
            links=[Link(_span_context(link)) for link in links],
            start_time=start,
        )
        return Span(span, self._tracer)

    def close(self) -> None:
        """Export pending spans for at most two seconds, because the collector can be down."""
        shutdown = threading.Thread(target=self._provider.shutdown, daemon=True)
        shutdown.start()
        shutdown.join(_CLOSE_TIMEOUT_S)


def _context(traceparent: str) -> "Context":
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context  # noqa: PLC0415

    empty = Context()
    if not traceparent:
        return empty
    return set_span_in_context(NonRecordingSpan(_span_context(traceparent)), empty)


def _span_context(traceparent: str) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415

    _, trace, span, flags = traceparent.split("-")
    return SpanContext(
        int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
