"""Addresses that a process listens on: names, sockets, and one check before anything starts.

Workers of one service share a port by SO_REUSEPORT, which would also let a second service in.
Their supervisor therefore holds a socket on each shared port that is bound and never listens: the
kernel gives it no connections, and refuses the port to every process that asks for it alone.
"""

import ipaddress
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import msgspec

from eventlog.errors import SettingError

_HIGHEST_PORT = 65_535


class Address(msgspec.Struct, frozen=True):
    """An address to listen on, and the option and variable that set it."""

    host: str
    port: int
    setting: str
    shared: bool = False  # by the workers of one service, each with a socket of its own

    def __str__(self) -> str:
        return f"port {self.port} on {self.host} ({self.setting})"


def numeric(host: str) -> str:
    """Return the IP address of a host's name, IPv4 if it has both; raises SettingError."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return host
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise SettingError(
            f"host {host!r}: {getattr(error, 'strerror', None) or error}; expected an IP address "
            "or a name that this machine can look up"
        ) from None
    entries.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(entries[0][4][0])


def bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a socket that is bound and does not listen yet; `::` means IPv4 as well.

    Raises OSError if the address cannot be had. A `shared` one leaves the port to other sockets
    of the same user that are shared.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if host == "::" and socket.has_dualstack_ipv6():
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def require_free(addresses: Sequence[Address]) -> None:
    """Raise SettingError that names port and setting if one cannot be listened on."""
    with reserved(addresses):
        pass


@contextmanager
def reserved(addresses: Sequence[Address]) -> Iterator[None]:
    """Check every address as `require_free` does, and hold the shared ones while the block runs."""
    require_distinct(addresses)
    with ExitStack() as guards:
        for address in addresses:
            if address.port == 0:  # the system will choose a free one
                continue
            guard = _reserve(address)
            if guard is not None:
                guards.enter_context(guard)
        yield


def require_distinct(addresses: Sequence[Address]) -> None:
    """Raise SettingError that names the setting of a port which is none, or is stated twice."""
    by_port: dict[int, Address] = {}
    for address in addresses:
        if not 0 <= address.port <= _HIGHEST_PORT:
            raise SettingError(f"{address}: expected 0 to {_HIGHEST_PORT}")
        if address.port and (other := by_port.setdefault(address.port, address)) is not address:
            raise SettingError(f"{address}: expected one that {other.setting} does not have")


def _reserve(address: Address) -> socket.socket | None:
    """Return the guard of a shared address, else None; raises SettingError if it is in use."""
    try:
        with bound(numeric(address.host), address.port) as probe:
            probe.listen(1)  # sockets that only are bound do not exclude each other
            return _guard(probe) if address.shared else None
    except OSError as error:
        raise SettingError(
            f"{address}: {error.strerror}; expected an address that is free on this machine"
        ) from None


def _guard(probe: socket.socket) -> socket.socket | None:
    """Return a socket that holds the port alone while the probe runs."""
    # Other systems share a port only if the first socket has allowed it.
    if sys.platform != "linux":
        return None
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    guard = socket.socket(probe.family, socket.SOCK_STREAM)
    try:
        # Without SO_REUSEADDR, because another process could then bind the port exclusively.
        guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if probe.family == socket.AF_INET6:
            v6only = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            guard.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        guard.bind(probe.getsockname())
    except BaseException:
        guard.close()
        raise
    return guard
