"""How `driftline up` asks its parts whether they are ready, and what it does not start."""

import socket
from collections.abc import Callable

import pytest

from driftline.up import children, require_free
from eventlog.errors import SettingError


def test_a_part_with_a_certificate_is_asked_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLINE_SERVICE_TLS_CERTIFICATE", "server.pem")
    service, monitor = children(3000, 8001, 3100)
    assert service.health == "https://127.0.0.1:3000/v2/health/live"
    assert monitor.health == "http://127.0.0.1:3100/health"


def test_a_part_that_wants_a_certificate_of_us_is_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DRIFTLINE_MONITOR_TLS_CLIENT_CA", "authority.pem")
    with pytest.raises(SettingError, match="DRIFTLINE_MONITOR_TLS_CLIENT_CA"):
        children(3000, 8001, 3100)


def test_nobody_else_is_taken_for_a_part(free_port: Callable[[], int]) -> None:
    free = free_port()
    require_free(free)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SettingError, match=f"port {port}: Address already in use"):
            require_free(free, port)
    require_free(port)
