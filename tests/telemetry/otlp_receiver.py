"""A receiver of OTLP over HTTP in place of a collector."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Received:
    """The spans that came, each with the name of the service that sent it."""

    def __init__(self) -> None:
        self._spans: list[tuple[str, Span]] = []
        self._lock = threading.Lock()

    def add(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            about = {one.key: one.value.string_value for one in resource.resource.attributes}
            with self._lock:
                self._spans += [
                    (about["service.name"], span)
                    for scope in resource.scope_spans
                    for span in scope.spans
                ]

    def named(self, name: str) -> list[tuple[str, Span]]:
        with self._lock:
            return [(process, span) for process, span in self._spans if span.name == name]

    def one(self, name: str) -> Span:
        ((_, span),) = self.named(name)
        return span


@contextmanager
def receiving() -> Iterator[tuple[str, Received]]:
    """The URL to send to, and what comes there."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/x-protobuf"
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            received.add(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
