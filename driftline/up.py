"""`driftline up`: run the service and the monitor together."""

import asyncio
import os
import signal
import sys

import click

from access.ports import Address, require_free
from driftline.setting_names import require_known
from driftline.supervisor import Child, Supervisor
from eventlog.errors import SettingError
from eventlog.process_lock import ProcessLock, require_unlocked
from eventlog.settings import Home, from_environment
from monitoring.settings import PREFIX as MONITOR
from monitoring.settings import MonitorSettings, lock_file
from service.settings import PREFIX as SERVICE
from service.settings import read_settings

# -P: a service.py or registry/ in the current folder must not shadow our package.
_DRIFTLINE = [sys.executable, "-P", "-m", "driftline"]
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - the loopback address of each


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [up]


@click.command()
@click.option("--port", default=3000, show_default=True, help="REST port of the service.")
@click.option("--grpc-port", default=8001, show_default=True, help="gRPC port of the service.")
@click.option("--monitor-port", default=3100, show_default=True, help="Port of the status page.")
@click.option("--grace", default=20.0, show_default=True, help="Seconds for each process to stop.")
def up(port: int, grpc_port: int, monitor_port: int, grace: float) -> None:
    """Run the service and the monitor until Ctrl-C; one of each per home."""
    require_known()
    home = Home.from_environment()
    with ProcessLock(home.lock("up"), "driftline up"):
        require_unlocked(home.lock("service"), "service")
        if lock := lock_file(home):
            require_unlocked(lock, "monitor")
        require_unlocked(home.lock("shadow"), "shadow process")
        require_free(addresses(port, grpc_port, monitor_port))
        sys.exit(asyncio.run(run(children(port, grpc_port, monitor_port), grace)))


def addresses(port: int, grpc_port: int, monitor_port: int) -> list[Address]:
    """Return the addresses of both processes."""
    service, monitor = read_settings(), from_environment(MonitorSettings, MONITOR)
    found = [
        Address(service.host, port, "--port"),
        Address(service.host, grpc_port, "--grpc-port"),
        Address(monitor.host, monitor_port, "--monitor-port"),
    ]
    if service.admin_port:
        found.append(Address(service.host, service.admin_port, f"{SERVICE}ADMIN_PORT"))
    return found


def children(port: int, grpc_port: int, monitor_port: int) -> list[Child]:
    """Return the processes in stop order: the monitor reads the last events of the service."""
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
    near = _EVERYWHERE.get(host, host)
    return f"{scheme}://{f'[{near}]' if ':' in near else near}:{port}"


async def run(parts: list[Child], grace: float) -> int:
    """Supervise both processes until SIGINT or SIGTERM; return the exit status."""
    supervisor = Supervisor(parts, lambda line: click.echo(f"driftline: {line}"), grace)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop)
    running = asyncio.create_task(supervisor.run())
    if await supervisor.ready():
        for part in filter(lambda one: one.health, parts):
            click.echo(f"driftline: {part.name} ready at {part.health.rsplit('/', 1)[0]}")
    return await running
