"""`driftline up`: readiness probes of its parts, and refused configurations."""

import pytest

from driftline.up import children
from eventlog.errors import SettingError


def test_a_part_with_a_certificate_is_probed_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLINE_SERVICE_TLS_CERTIFICATE", "server.pem")
    service, _, monitor = children(3000, 8001, 3100)
    assert service.health == "https://127.0.0.1:3000/v2/health/live"
    assert monitor.health == "http://127.0.0.1:3100/health"
    assert (service.page, monitor.page) == ("https://127.0.0.1:3000/", "http://127.0.0.1:3100/")


def test_a_part_that_requires_client_certificates_is_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DRIFTLINE_MONITOR_TLS_CLIENT_CA", "authority.pem")
    with pytest.raises(SettingError, match="DRIFTLINE_MONITOR_TLS_CLIENT_CA"):
        children(3000, 8001, 3100)


@pytest.mark.parametrize(
    ("host", "near"),
    [("localhost", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]")],
)
def test_a_part_is_probed_at_its_address(
    monkeypatch: pytest.MonkeyPatch, host: str, near: str
) -> None:
    monkeypatch.setenv("DRIFTLINE_SERVICE_HOST", host)
    service, *_ = children(3000, 8001, 3100)
    assert service.health == f"http://{near}:3000/v2/health/live"
