"""Hosts and origins that a port without keys accepts."""

import pytest

from access.authorization_header import join_headers
from access.browser_guard import BrowserGuard
from access.errors import AccessError, ForeignOrigin, UnknownHost

GUARD = BrowserGuard(["models.example.org", "*.svc", "Box", ""], "X_HOSTS")
OURS = [
    b"127.0.0.1:3000", b"127.0.0.1", b"[::1]:3000", b"[::1]", b"10.1.2.3:3000", b"[fd00::7]:1",
    b"localhost", b"LOCALHOST:80", b"localhost.", b"a.localhost:3000", b"models.example.org",
    b"Models.Example.org:443", b"driftline.ns.svc:3000", b"box:3000",
]  # fmt: skip
FOREIGN = [
    b"", b"evil.example", b"evil.example:3000", b"127.0.0.1.evil.example", b"localhost.evil",
    b"evil.example#localhost", b"evil.example/localhost", b"localhost@evil.example", b"[::1].evil",
    b"[", b"]", b"::1", b"svc", b"evilsvc", b"xmodels.example.org", b"localhost evil.example",
    b"localhost,evil.example", b"127.0.0.1:3000:1", b"0x7f.1", b"2130706433", b"\xff", b"*",
]  # fmt: skip
HERE = (b"host", b"127.0.0.1:3000")


def refused(*headers: tuple[bytes, bytes], method: bytes = b"POST") -> type[AccessError] | None:
    error = GUARD.refusal(method, headers)
    return None if error is None else type(error)


@pytest.mark.parametrize("host", OURS)
def test_addresses_and_configured_host_names_are_accepted(host: bytes) -> None:
    assert refused((b"host", host)) is None


@pytest.mark.parametrize("host", FOREIGN)
def test_other_host_names_are_refused(host: bytes) -> None:
    assert refused((b"host", host)) is UnknownHost
    assert refused(HERE, (b"host", host)) is UnknownHost


def test_a_request_without_a_host_header_is_not_from_a_browser() -> None:
    assert refused() is None


def test_the_setting_can_allow_every_host_but_not_every_origin() -> None:
    guard = BrowserGuard(["*"], "X_HOSTS")
    assert guard.refusal(b"GET", [(b"host", b"evil.example")]) is None
    foreign = [(b"host", b"evil.example"), (b"origin", b"http://other.example")]
    assert isinstance(guard.refusal(b"POST", foreign), ForeignOrigin)


@pytest.mark.parametrize(
    "origin",
    [
        b"http://evil.example", b"null", b"", b"http://127.0.0.1:3001", b"https://127.0.0.1",
        b"http://localhost:3000", b"file://", b"http://127.0.0.1:3000@evil.example",
        b"http://127.0.0.1:3000 http://evil.example", b"chrome-extension://abc",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS"])
def test_a_page_of_another_origin_is_refused(origin: bytes, method: bytes) -> None:
    assert refused(HERE, (b"origin", origin), method=method) is ForeignOrigin
    assert refused(HERE, (b"origin", b"http://127.0.0.1:3000"), (b"origin", origin)) is not None


@pytest.mark.parametrize(
    "origin",
    [
        b"http://127.0.0.1:3000",
        b"HTTPS://127.0.0.1:3000",
        b"https://models.example.org",
        b"http://box:1",
    ],
)
def test_the_same_origin_and_configured_origins_are_accepted(origin: bytes) -> None:
    assert refused(HERE, (b"origin", origin)) is None


@pytest.mark.parametrize(
    ("method", "site", "mode", "answered"),
    [
        (b"GET", b"cross-site", b"navigate", True),  # a link to the page
        (b"GET", b"cross-site", b"no-cors", False),
        (b"GET", b"same-site", b"cors", False),
        (b"POST", b"cross-site", b"navigate", False),  # a form
        (b"POST", b"same-site", b"no-cors", False),
        (b"POST", b"same-origin", b"cors", True),
        (b"POST", b"none", b"navigate", True),
    ],
)
def test_the_fetch_metadata_of_a_browser_decides(
    method: bytes, site: bytes, mode: bytes, answered: bool
) -> None:
    stated = (b"sec-fetch-site", site), (b"sec-fetch-mode", mode)
    assert (refused(HERE, *stated, method=method) is None) is answered


def test_refusals_are_counted_and_name_the_setting() -> None:
    counted: list[AccessError] = []
    guard = BrowserGuard([], "X_HOSTS", counted.append)
    with pytest.raises(UnknownHost, match="X_HOSTS"):
        guard.check(b"GET", [(b"host", b"e" * 9_000)])
    with pytest.raises(ForeignOrigin, match="X_HOSTS"):
        guard.check_origin(b"http://evil.example")
    assert [len(str(error)) < 300 for error in counted] == [True, True]
    guard.check_origin(None)


def test_repeated_authorization_headers_are_no_valid_key() -> None:
    assert join_headers([]) is None
    assert join_headers([b"Bearer a"]) == b"Bearer a"
    assert join_headers([b"Bearer a", b""]) == b"Bearer a, "
    assert join_headers([b"Bearer a", b"Bearer a"]) == b"Bearer a, Bearer a"
