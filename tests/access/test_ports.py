"""Ports are checked before anything starts, and shared only by workers of one service."""

import socket
from collections.abc import Callable

import pytest

from access.ports import Address, bind_socket, require_free, reserve_ports, resolve_host
from eventlog.errors import SettingError

HOSTS = ["127.0.0.1", "::1", "0.0.0.0", "::"]


def address(port: int, host: str = "127.0.0.1", *, shared: bool = False) -> Address:
    return Address(host, port, "--port", shared)


def test_a_taken_port_is_named_with_its_setting(free_port: Callable[[], int]) -> None:
    free = free_port()
    require_free([address(free)])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        expected = rf"^port {taken} on 127.0.0.1 \(--port\): Address already in use; expected"
        with pytest.raises(SettingError, match=expected):
            require_free([address(free), address(taken)])
        for host in ("0.0.0.0", "::"):  # which hold 127.0.0.1, too
            with pytest.raises(SettingError, match="already in use"):
                require_free([address(taken, host)])
    require_free([address(taken)])


def test_a_port_that_another_process_could_share_counts_as_taken(
    free_port: Callable[[], int],
) -> None:
    port = free_port()
    with bind_socket("127.0.0.1", port, shared=True) as listener:
        listener.listen()
        for shared in (False, True):
            with pytest.raises(SettingError, match=f"port {port}"):
                require_free([address(port, shared=shared)])


@pytest.mark.parametrize("host", HOSTS)
def test_only_workers_of_the_service_share_a_reserved_port(
    host: str, free_port: Callable[[], int]
) -> None:
    port = free_port()
    mine = [address(port, host, shared=True)]
    with reserve_ports(mine):
        for _ in range(2):  # while no worker listens, and after one that did has ended
            with pytest.raises(SettingError, match=f"port {port}"):
                require_free(mine)
            with (
                bind_socket(host, port, shared=True) as one,
                bind_socket(host, port, shared=True) as other,
            ):
                one.listen()
                other.listen()
                one.setblocking(False)
                other.setblocking(False)
                near = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)
                for _ in range(20):  # each is accepted: the guard gets none
                    with socket.create_connection((near, port), 5) as client:
                        assert _accepted(one, other) == client.getsockname()[1]
    require_free(mine)


def _accepted(*listeners: socket.socket) -> int:
    for listener in listeners:
        try:
            connection, peer = listener.accept()
        except BlockingIOError:
            continue
        connection.close()
        return int(peer[1])
    raise AssertionError("no listener has the connection")


def test_two_settings_cannot_name_one_port() -> None:
    rest, grpc = Address("127.0.0.1", 3000, "--port"), Address("127.0.0.1", 3000, "--grpc-port")
    with pytest.raises(SettingError, match=r"\(--grpc-port\): --port has the same port"):
        require_free([rest, grpc])


def test_an_impossible_address_is_refused() -> None:
    with pytest.raises(SettingError, match=r"port 70000 .*expected 0 to 65535"):
        require_free([address(70_000)])
    with pytest.raises(SettingError, match=r"on 192.0.2.1 .*: Cannot assign requested address"):
        require_free([address(3000, "192.0.2.1")])
    with pytest.raises(SettingError, match=r"host 'no such host': .*expected an IP address"):
        resolve_host("no such host")


def test_host_names_are_resolved() -> None:
    assert resolve_host("localhost") in {"127.0.0.1", "::1"}
    assert [resolve_host(host) for host in HOSTS] == HOSTS


def test_port_zero_is_chosen_by_the_system() -> None:
    require_free([address(0), address(0)])
