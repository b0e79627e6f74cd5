"""The check of settings and keys before a port is opened."""

from pathlib import Path
from typing import Any

import pytest

from access.errors import Unauthenticated
from access.keyfile import KeyFile
from access.keys import make_key
from access.ports import require_free
from eventlog.errors import SettingError
from eventlog.settings import Home
from service.auth.configuration import addresses, check_encrypted, check_start, create_authorizer
from service.settings import Settings
from tests.access.certificates import Certificates

REACHABLE = "0.0.0.0"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    files = Certificates(tmp_path_factory.mktemp("certificates"))
    certificate, key = files.server
    return {
        "tls_certificate": certificate,
        "tls_key": key,
        "tls_client_ca": str(files.authority),
    }


def add_key(home: Home) -> bytes:
    key, text = make_key([], name="n", scopes=["operate"], expires="", now=0)
    KeyFile.of(home, {}).change(lambda held: [*held, key])
    return b"Bearer " + text.encode()


def check(home: Home, **settings: Any) -> None:
    check_start(Settings(**settings), home)


def lets_in(home: Home, given: bytes | None, **settings: Any) -> bool:
    try:
        create_authorizer(Settings(**settings), home, lambda _: None).admit("operate", given)
    except Unauthenticated:
        return False
    return True


def test_loopback_is_open_until_there_is_a_key(home: Home) -> None:
    check(home)
    assert lets_in(home, None)
    header = add_key(home)
    assert not lets_in(home, None)
    assert lets_in(home, header)


def test_beyond_loopback_callers_need_an_existing_key(home: Home) -> None:
    with pytest.raises(SettingError, match="driftline keys create"):
        check(home, host=REACHABLE)
    assert not lets_in(home, None, host=REACHABLE)  # should a worker be started past the check
    header = add_key(home)
    check(home, host=REACHABLE)
    assert not lets_in(home, None, host=REACHABLE)
    assert lets_in(home, header, host=REACHABLE)


def test_anonymous_callers_beyond_loopback_need_the_explicit_setting(home: Home) -> None:
    check(home, host=REACHABLE, allow_anonymous=True)
    assert lets_in(home, None, host=REACHABLE, allow_anonymous=True)
    add_key(home)
    assert not lets_in(home, None, host=REACHABLE, allow_anonymous=True)


def test_client_certificates_are_credentials_and_a_server_certificate_is_not(
    home: Home, certified: dict[str, str]
) -> None:
    check(home, host=REACHABLE, **certified)
    assert lets_in(home, None, host=REACHABLE, **certified)
    with pytest.raises(SettingError, match="no credentials"):
        check(home, host=REACHABLE, **{**certified, "tls_client_ca": ""})


@pytest.mark.parametrize("taken", [3000, 8001])
def test_the_admin_port_is_separate(taken: int) -> None:
    with pytest.raises(SettingError, match=f"port {taken} on .*ADMIN_PORT.: .* has the same port"):
        require_free(addresses(Settings(admin_port=taken)))


def test_a_key_file_that_cannot_be_read_stops_the_start(home: Home) -> None:
    home.root.mkdir()
    home.keys.write_text("{")
    with pytest.raises(SettingError, match=r"keys\.json"):
        check(home)
    with pytest.raises(SettingError, match=r"keys\.json"):
        lets_in(home, None)


def test_plain_text_is_refused_if_certificates_are_configured(certified: dict[str, str]) -> None:
    asked = ["worker", "--ssl-certfile", certified["tls_certificate"]]
    check_encrypted(Settings(), ["worker"])
    check_encrypted(Settings(**certified), asked)
    with pytest.raises(SettingError, match="--ssl-certfile"):
        check_encrypted(Settings(**certified), asked[:1])
