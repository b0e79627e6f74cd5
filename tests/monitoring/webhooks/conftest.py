"""A real HTTP receiver on a loopback port."""

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest


@dataclass
class Letterbox:
    """The received requests and the configured reply."""

    url: str = ""
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hang: threading.Event | None = None  # reply only once it is set
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


OpenLetterbox = Callable[..., Letterbox]


@contextmanager
def _open(tls: ssl.SSLContext | None) -> Iterator[Letterbox]:
    box = Letterbox()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            named = {name.lower(): value for name, value in self.headers.items()}
            box.received.append((named, self.rfile.read(length)))
            if box.hang is not None:
                box.hang.wait(10)
            self.send_response(box.status)
            for name, value in box.headers.items():
                self.send_header(name, value)
            if box.status != 204:
                self.send_header("content-length", str(len(box.body)))
            self.end_headers()
            self.wfile.write(box.body)

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_arguments: object) -> None:
            """Ignore callers that hang up early; tests provoke them."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    box.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield box
    finally:
        if box.hang is not None:
            box.hang.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def open_letterbox() -> Iterator[OpenLetterbox]:
    """Return a function that opens a receiver, over TLS if it gets a context."""
    with ExitStack() as stack:
        yield lambda tls=None: stack.enter_context(_open(tls))


@pytest.fixture
def letterbox(open_letterbox: OpenLetterbox) -> Letterbox:
    """Return a receiver over plain HTTP."""
    return open_letterbox()
