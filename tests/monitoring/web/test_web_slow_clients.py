"""Slow clients of the status page."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from access.connection_table import ConnectionLimits
from monitoring.storage.store import Store
from monitoring.web.app import app
from monitoring.web.server import serving


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("page")
    application = app(lambda: Store(root / "monitor.db"), root)
    with serving(application, "127.0.0.1", 0, limits=ConnectionLimits(8, 1.0)) as url:
        yield url


def _connect(page: str) -> socket.socket:
    parts = urlsplit(page)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60)


@pytest.mark.parametrize(
    ("sent", "reply"),
    [
        (b"", b""),
        (b"GET /health HTTP/1.1\r\n", b"HTTP/1.1 408"),
        (b"POST /api/silences HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\n\r\n1", b"HTTP"),
    ],
)
def test_an_incomplete_request_is_ended(page: str, sent: bytes, reply: bytes) -> None:
    with _connect(page) as client:
        client.sendall(sent)
        received = b""
        while piece := client.recv(65_536):
            received += piece
    assert received[: len(reply)] == reply
    assert bool(received) == bool(reply)


def test_the_page_replies_while_anonymous_connections_are_open(page: str) -> None:
    strangers = [_connect(page) for _ in range(100)]
    for _ in range(20):
        assert httpx.get(f"{page}/health", trust_env=False).status_code == 200
        assert httpx.get(page, trust_env=False).status_code == 200
    for one in strangers:
        one.close()
