"""A taken port ends the command with one line, before anything starts."""

import socket
from collections.abc import Callable, Iterator

import pytest

from eventlog.settings import Home
from tests.driftline.conftest import Run


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that another process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("command", "option", "variable"),
    [
        ("serve", "--port", "DRIFTLINE_SERVICE_PORT"),
        ("serve", "--grpc-port", "DRIFTLINE_SERVICE_GRPC_PORT"),
        ("serve", "", "DRIFTLINE_SERVICE_ADMIN_PORT"),
        ("monitor", "--port", "DRIFTLINE_MONITOR_PORT"),
        ("forward", "", "DRIFTLINE_FORWARDER_METRICS_PORT"),
        ("up", "--port", "DRIFTLINE_SERVICE_PORT"),
        ("up", "--grpc-port", "DRIFTLINE_SERVICE_GRPC_PORT"),
        ("up", "--monitor-port", "DRIFTLINE_MONITOR_PORT"),
        ("up", "", "DRIFTLINE_SERVICE_ADMIN_PORT"),
    ],
)
def test_a_taken_port_is_named_with_its_setting(  # noqa: PLR0917 - a case and its fixtures
    run: Run,
    home: Home,
    taken: str,
    free_port: Callable[[], int],
    command: str,
    option: str,
    variable: str,
) -> None:
    ports = {"serve": ("--port", "--grpc-port"), "monitor": ("--port",)}
    ports["up"] = ("--port", "--grpc-port", "--monitor-port")
    given = {name: str(free_port()) for name in ports.get(command, ())}
    if option:
        given[option] = taken
    stated = {} if option else {variable: taken}
    refused = run(command, *(part for pair in given.items() for part in pair), **stated)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    setting = " or ".join(filter(None, (option, variable)))
    expected = f"driftline: port {taken} on 127.0.0.1 ({setting}): Address already in use"
    assert line.startswith(expected)
    assert not home.log.exists()
    assert not home.monitor.exists()


def test_up_reads_the_variables_of_its_parts(
    run: Run, taken: str, free_port: Callable[[], int]
) -> None:
    names = ("DRIFTLINE_SERVICE_PORT", "DRIFTLINE_SERVICE_GRPC_PORT")
    refused = run("up", DRIFTLINE_MONITOR_PORT=taken, **{one: str(free_port()) for one in names})
    assert f"port {taken} on 127.0.0.1" in refused.stderr


def test_a_name_that_is_not_a_host_is_refused(run: Run) -> None:
    refused = run("serve", "--host", "no.such.host.invalid", "--allow-anonymous")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("driftline: host 'no.such.host.invalid': ")
