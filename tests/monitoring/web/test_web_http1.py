"""Whatever a request contains, the next request of its connection is parsed correctly."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from monitoring.web.server import serving
from tests.access import http1_table as http1

pytestmark = pytest.mark.untraced

PATH = "/api/elsewhere"
NAMES = sorted(http1.table(PATH, b""))


@pytest.fixture(scope="module")
def echo() -> http1.Echo:
    return http1.Echo()


@pytest.fixture(scope="module")
def address(echo: http1.Echo) -> Iterator[tuple[str, int]]:
    application: Any = echo
    with serving(application, "127.0.0.1", 0) as url:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        yield parts.hostname, parts.port


@pytest.mark.parametrize("cut", [1 << 20, 7])
@pytest.mark.parametrize("name", NAMES)
def test_a_request(echo: http1.Echo, address: tuple[str, int], name: str, cut: int) -> None:
    for body in (http1.HONEST, http1.hidden(PATH)):
        echo.bodies.clear()
        sent = http1.table(PATH, body)[name] + http1.second(PATH)
        replies = http1.converse(address, *http1.pieces_of(sent, cut))
        http1.check(name, sent, replies)
        http1.check_bodies(sent, body, echo.bodies)
