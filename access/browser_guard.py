"""Refuse requests that a browser sends on behalf of another site's page. Pure.

A port without keys trusts every caller, and a browser can reach every port of its machine. Two
headers reveal a request of another site's page:

- `Host` is a name of the other site, if its owner pointed that name at this machine (DNS
  rebinding). IP addresses cannot be rebound. Health probes send them, so all are accepted.
- `Origin` or `Sec-Fetch-Site` names another site. Programs send neither header.
"""

import re
from collections.abc import Callable, Collection, Iterable
from ipaddress import ip_address

from access.errors import AccessError, ForeignOrigin, UnknownHost

Header = tuple[bytes, bytes]  # the name in lower case

_AUTHORITY = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([^\s\[\]/@?#:,]+))(?::[0-9]{0,5})?")
_ORIGIN = re.compile(rb"https?://([^\s/?#,]+)", re.IGNORECASE)
_READ = (b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode")
_SAFE = (b"GET", b"HEAD")
_MOST_QUOTED = 100  # characters of a header that an error message quotes


class BrowserGuard:
    """Check host and origin of requests to a port that requires no key.

    `hosts` are the names under which the port accepts requests. Loopback names and all IP
    addresses are always accepted. `*.example.org` means every subdomain, `*` any name.
    """

    def __init__(
        self,
        hosts: Collection[str],
        setting: str,
        refused: Callable[[AccessError], None] = lambda _: None,
    ) -> None:
        """`setting` is the variable that lists `hosts`; `refused` is called with every refusal."""
        names = {host.strip().lower().removesuffix(".") for host in hosts} - {""}
        self._any = "*" in names
        self._below = tuple(name[1:] for name in names if name.startswith("*."))
        self._names = {name for name in names if not name.startswith("*")}
        self._setting = setting
        self._refused = refused

    def check(self, method: bytes, headers: Iterable[Header]) -> None:
        """Raise UnknownHost or ForeignOrigin if another site's page may have sent the request."""
        if (error := self.refusal(method, headers)) is not None:
            self.count(error)
            raise error

    def count(self, error: AccessError) -> None:
        """Count a refusal."""
        self._refused(error)

    def check_origin(self, origin: bytes | None) -> None:
        """Raise ForeignOrigin if a gRPC call has an `Origin` that is not configured."""
        if origin is not None and not self._lists_origin(origin):
            error = self._foreign(origin)
            self.count(error)
            raise error

    def refusal(self, method: bytes, headers: Iterable[Header]) -> AccessError | None:
        """Return the error if another site's page may have sent the request, else None."""
        by_name: dict[bytes, list[bytes]] = {name: [] for name in _READ}
        for name, value in headers:
            if name in by_name:
                by_name[name].append(value)
        hosts, origins, sites, modes = by_name.values()
        for host in hosts:  # only browsers matter, and browsers always send a Host header
            if not self.knows(host):
                return self._unknown(host)
        for origin in origins:
            if not (self._lists_origin(origin) or _is_same(origin, hosts)):
                return self._foreign(origin)
        follows_link = modes == [b"navigate"] and method in _SAFE
        foreign = [site for site in sites if site not in (b"same-origin", b"none")]
        return self._foreign(foreign[0]) if foreign and not origins and not follows_link else None

    def knows(self, host: bytes) -> bool:
        """Return whether the port accepts this Host header."""
        name = host_name(host)
        if not name:
            return False
        return (
            self._any
            or _is_address(name)
            or name == "localhost"
            or name.endswith(".localhost")
            or self._lists(name)
        )

    def _lists(self, name: str) -> bool:
        return name in self._names or (bool(self._below) and name.endswith(self._below))

    def _lists_origin(self, origin: bytes) -> bool:
        """Return whether the origin's host is configured. `*` allows any Host, but no origin."""
        match = _ORIGIN.fullmatch(origin)
        return match is not None and self._lists(host_name(match[1]))

    def _unknown(self, host: bytes) -> UnknownHost:
        return UnknownHost(
            f"host {_quoted(host)}: expected an IP address, localhost, or a name that "
            f"{self._setting} lists"
        )

    def _foreign(self, origin: bytes) -> ForeignOrigin:
        return ForeignOrigin(
            f"request from a page of another site ({_quoted(origin)}); expected this site, a "
            f"program, or a name that {self._setting} lists"
        )


def host_name(authority: bytes) -> str:
    """Return the lower-case host of `host`, `host:port` or `[v6]:port`, or "" if malformed."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return ""
    return (match[1] or match[2]).decode("latin-1").lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_same(origin: bytes, hosts: list[bytes]) -> bool:
    """Return whether the page's origin has the host and port of the request."""
    match = _ORIGIN.fullmatch(origin)
    return match is not None and [match[1].lower()] == [host.lower() for host in hosts]


def _quoted(value: bytes) -> str:
    return repr(value[:_MOST_QUOTED].decode("latin-1"))
