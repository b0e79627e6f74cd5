"""`driftline up`: run the service, the shadows and the monitor together."""

import asyncio
import os
import signal
import sys

import click

from access.ports import Address, require_free
from driftline.number_types import INTEGER, SECONDS
from driftline.setting_names import require_known
from driftline.supervisor import Child, Supervisor
from eventlog.errors import SettingError
from eventlog.process_lock import ProcessLock, require_unlocked
from eventlog.settings import Home, from_environment
from monitoring.settings import PREFIX as MONITOR
from monitoring.settings import MonitorSettings, lock_file
from service.settings import PREFIX as SERVICE
from service.settings import read_settings

# -P, because service.py or registry/ in the current folder must not shadow Driftline's package.
_DRIFTLINE = [sys.executable, "-P", "-m", "driftline"]
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced by a loopback address


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [up]


@click.command()
@click.option("--port", type=INTEGER, help="REST port of the service.  [default: 3000]")
@click.option("--grpc-port", type=INTEGER, help="gRPC port of the service.  [default: 8001]")
@click.option("--monitor-port", type=INTEGER, help="Port of the status page.  [default: 3100]")
@click.option(
    "--grace",
    default=20.0,
    type=SECONDS,
    show_default=True,
    help="Seconds after which a process that does not stop is killed.",
)
def up(port: int | None, grpc_port: int | None, monitor_port: int | None, grace: float) -> None:
    """Run the service and the monitor until Ctrl-C; run one of each per home.

    An option overrides its variable, for example DRIFTLINE_SERVICE_PORT.
    """
    require_known()
    service, monitor = read_settings(), from_environment(MonitorSettings, MONITOR)
    ports = (
        service.port if port is None else port,
        service.grpc_port if grpc_port is None else grpc_port,
        monitor.port if monitor_port is None else monitor_port,
    )
    home = Home.from_environment()
    with ProcessLock(home.lock("up"), "driftline up"):
        require_unlocked(home.lock("service"), "service")
        if lock := lock_file(home):
            require_unlocked(lock, "monitor")
        require_unlocked(home.lock("shadow"), "shadow process")
        require_free(addresses(*ports))
        sys.exit(asyncio.run(run(children(*ports), grace)))


def addresses(port: int, grpc_port: int, monitor_port: int) -> list[Address]:
    """Return the addresses on which service and monitor listen."""
    service, monitor = read_settings(), from_environment(MonitorSettings, MONITOR)
    bound_addresses = [
        Address(service.host, port, f"--port or {SERVICE}PORT"),
        Address(service.host, grpc_port, f"--grpc-port or {SERVICE}GRPC_PORT"),
        Address(monitor.host, monitor_port, f"--monitor-port or {MONITOR}PORT"),
    ]
    if service.admin_port:
        bound_addresses.append(Address(service.host, service.admin_port, f"{SERVICE}ADMIN_PORT"))
    return bound_addresses


def children(port: int, grpc_port: int, monitor_port: int) -> list[Child]:
    """Return the processes in stop order: the monitor stops last, to read all events."""
    serve = ["serve", "--port", str(port), "--grpc-port", str(grpc_port)]
    monitor = ["monitor", "--port", str(monitor_port)]
    service_host = read_settings().host
    monitor_host = from_environment(MonitorSettings, MONITOR).host
    return [
        Child(
            "service",
            [*_DRIFTLINE, *serve],
            f"{_base(SERVICE, service_host, port)}/v2/health/live",
        ),
        Child("shadows", [*_DRIFTLINE, "shadow", "run"], ""),
        Child(
            "monitor",
            [*_DRIFTLINE, *monitor],
            f"{_base(MONITOR, monitor_host, monitor_port)}/health",
        ),
    ]


def _base(prefix: str, host: str, port: int) -> str:
    """Return the URL of a process; raise SettingError if a health check cannot reach it."""
    if os.environ.get(f"{prefix}TLS_CLIENT_CA"):
        raise SettingError(
            f"{prefix}TLS_CLIENT_CA: driftline up has no client certificate for its health "
            "checks; use driftline serve and driftline monitor instead"
        )
    scheme = "https" if os.environ.get(f"{prefix}TLS_CERTIFICATE") else "http"
    local_host = _EVERYWHERE.get(host, host)
    return f"{scheme}://{f'[{local_host}]' if ':' in local_host else local_host}:{port}"


async def run(parts: list[Child], grace: float) -> int:
    """Supervise the processes until SIGINT or SIGTERM; return the exit status."""
    supervisor = Supervisor(parts, lambda line: click.echo(f"driftline: {line}"), grace)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop)
    running = asyncio.create_task(supervisor.run())
    if await supervisor.ready():
        for part in filter(lambda part: part.health, parts):
            click.echo(f"driftline: {part.name} ready at {part.page}")
    return await running
