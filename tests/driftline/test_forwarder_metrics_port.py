"""The forwarder's metrics port refuses pages of other sites."""

from collections.abc import Iterable
from typing import Any

import pytest

from access.browser_guard import BrowserGuard
from driftline.forwarder_process import guarded


def _app(_: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"metrics"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, "200 OK"),
        ({"HTTP_HOST": "127.0.0.1:3200"}, "200 OK"),
        ({"HTTP_HOST": "forwarder:3200"}, "200 OK"),
        ({"HTTP_HOST": "evil.example:3200"}, "421 Misdirected"),
        ({"HTTP_HOST": "127.0.0.1:3200", "HTTP_ORIGIN": "http://evil.example"}, "403 Forbidden"),
    ],
)
def test_access_to_the_forwarders_metrics(headers: dict[str, str], status: str) -> None:
    replies: list[str] = []
    app = guarded(_app, BrowserGuard(["forwarder"], "HOSTS"))
    body = app({"REQUEST_METHOD": "GET", **headers}, lambda said, _: replies.append(said))
    assert replies == [status]
    assert (list(body) == [b"metrics"]) is (status == "200 OK")
