"""Listening addresses of a process, and the check before its start that all of them are free.

Workers of one service share a port by SO_REUSEPORT, but a second service could then share it too.
The supervisor of the workers therefore binds a guard socket to each shared port. The guard never
listens, so it receives no connections. The kernel refuses other processes that try to bind the
port exclusively.
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
    shared: bool = False  # whether each worker of one service has a separate socket on the port

    def __str__(self) -> str:
        return f"port {self.port} on {self.host} ({self.setting})"


def resolve_host(host: str) -> str:
    """Return the IP address of a host name, preferably IPv4; raises SettingError."""
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
            "or a name that this machine can resolve"
        ) from None
    entries.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(entries[0][4][0])


def bind_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a bound socket that does not listen yet; `::` includes IPv4.

    If `shared`, other shared sockets of the same user can bind the port too. Raises OSError if
    the address is not available.
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
    """Raise SettingError that names the port and its setting if an address is not free."""
    with reserve_ports(addresses):
        pass


@contextmanager
def reserve_ports(addresses: Sequence[Address]) -> Iterator[None]:
    """Check that every address is free, and guard the shared ports while the block runs."""
    require_distinct(addresses)
    with ExitStack() as guards:
        for address in addresses:
            if address.port == 0:  # the system will choose a free port
                continue
            guard = _reserve(address)
            if guard is not None:
                guards.enter_context(guard)
        yield


def require_distinct(addresses: Sequence[Address]) -> None:
    """Raise SettingError for a port that is out of range or used twice."""
    by_port: dict[int, Address] = {}
    for address in addresses:
        if not 0 <= address.port <= _HIGHEST_PORT:
            raise SettingError(f"{address}: expected 0 to {_HIGHEST_PORT}")
        if address.port and (other := by_port.setdefault(address.port, address)) is not address:
            raise SettingError(f"{address}: {other.setting} has the same port; expected another")


def _reserve(address: Address) -> socket.socket | None:
    """Return the guard if the address is shared, else None; raises SettingError if it is in use."""
    try:
        with bind_socket(resolve_host(address.host), address.port) as probe:
            probe.listen(1)  # sockets that are only bound do not exclude each other
            return _guard(probe) if address.shared else None
    except OSError as error:
        raise SettingError(
            f"{address}: {error.strerror}; expected an address that is free on this machine"
        ) from None


def _guard(probe: socket.socket) -> socket.socket | None:
    """Return a guard of the port that `probe` has bound, or None if the system needs no guard."""
    # Systems other than Linux share a port only if the first socket has allowed it.
    if sys.platform != "linux":
        return None
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    guard = socket.socket(probe.family, socket.SOCK_STREAM)
    try:
        # SO_REUSEADDR is not set, because it would let another process bind the port exclusively.
        guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if probe.family == socket.AF_INET6:
            v6only = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            guard.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        guard.bind(probe.getsockname())
    except BaseException:
        guard.close()
        raise
    return guard
