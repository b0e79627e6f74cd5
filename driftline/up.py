"""`driftline up`: the service and the monitor together."""

import asyncio
import os
import signal
import socket
import sys

import click

from driftline.supervisor import Child, Supervisor
from eventlog.errors import SettingError
from eventlog.process_lock import ProcessLock, require_unlocked
from eventlog.settings import Home
from monitoring.settings import lock_file


def commands() -> list[click.Command]:
    """The commands of this noun."""
    return [up]


@click.command()
@click.option("--port", default=3000, show_default=True, help="REST port of the service.")
@click.option("--grpc-port", default=8001, show_default=True, help="gRPC port of the service.")
@click.option("--monitor-port", default=3100, show_default=True, help="Port of the status page.")
@click.option("--grace", default=20.0, show_default=True, help="Seconds each part has to stop in.")
def up(port: int, grpc_port: int, monitor_port: int, grace: float) -> None:
    """Run the service and the monitor until Ctrl-C; a home has one of each."""
    home = Home.from_environment()
    with ProcessLock(home.lock("up"), "driftline up"):
        require_unlocked(home.lock("service"), "service")
        if lock := lock_file(home):
            require_unlocked(lock, "monitor")
        require_free(port, grpc_port, monitor_port)
        sys.exit(asyncio.run(run(children(port, grpc_port, monitor_port), grace)))


def require_free(*ports: int) -> None:
    """Raise SettingError where somebody listens already: he would be taken for one of the parts."""
    for port in ports:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError as error:
                raise SettingError(
                    f"port {port}: {error.strerror}; expected one that is free - does `make run` "
                    "or another `driftline up` go on elsewhere?"
                ) from None


def children(port: int, grpc_port: int, monitor_port: int) -> list[Child]:
    """The parts, in the order in which they stop: the monitor sees the service's last events."""
    serve = ["serve", "--port", str(port), "--grpc-port", str(grpc_port)]
    return [
        Child(
            "service",
            [sys.executable, "-m", "driftline", *serve],
            f"{_scheme('SERVICE')}://127.0.0.1:{port}/v2/health/live",
        ),
        Child(
            "monitor",
            [sys.executable, "-m", "driftline", "monitor", "--port", str(monitor_port)],
            f"{_scheme('MONITOR')}://127.0.0.1:{monitor_port}/health",
        ),
    ]


def _scheme(part: str) -> str:
    """What a part speaks; raises SettingError where it would not answer the question of health."""
    if os.environ.get(f"DRIFTLINE_{part}_TLS_CLIENT_CA"):
        raise SettingError(
            f"DRIFTLINE_{part}_TLS_CLIENT_CA: driftline up has no certificate to ask with whether "
            "its parts are ready; expected driftline serve and driftline monitor instead"
        )
    return "https" if os.environ.get(f"DRIFTLINE_{part}_TLS_CERTIFICATE") else "http"


async def run(parts: list[Child], grace: float) -> int:
    """Supervise the parts until SIGINT or SIGTERM; the exit status."""
    supervisor = Supervisor(parts, lambda line: click.echo(f"driftline: {line}"), grace)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop)
    running = asyncio.create_task(supervisor.run())
    if await supervisor.ready():
        for part in parts:
            click.echo(f"driftline: {part.name} ready at {part.health.rsplit('/', 1)[0]}")
    return await running
