"""Addresses that may be bound without credentials."""

import pytest

from access.exposure import check_exposure
from eventlog.errors import SettingError

LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "localhost"]
REACHABLE = ["0.0.0.0", "::", "192.168.1.2", "10.0.0.1", "example.org", "", "::ffff:8.8.8.8"]


def check(host: str, *, credentials: bool = False, allow_anonymous: bool = False) -> None:
    check_exposure(host, "DRIFTLINE_X_", credentials=credentials, allow_anonymous=allow_anonymous)


@pytest.mark.parametrize("host", LOOPBACK)
def test_every_configuration_may_bind_loopback(host: str) -> None:
    check(host)


@pytest.mark.parametrize("host", REACHABLE)
def test_other_addresses_need_credentials_or_an_explicit_setting(host: str) -> None:
    check(host, credentials=True)
    check(host, allow_anonymous=True)
    with pytest.raises(SettingError) as refusal:
        check(host)
    for fix in ("127.0.0.1", "driftline keys create", "--allow-anonymous", "DRIFTLINE_X_ALLOW"):
        assert fix in str(refusal.value)
