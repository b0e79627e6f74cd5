"""`driftline load`: load on a running service, and whether it keeps its objectives."""

import importlib.util
import os
import socket
import subprocess
import sys

import click

from loadtests.shapes import NAMES

USERS = {
    "rest-json": "RestJson",
    "rest-binary": "RestBinary",
    "grpc": "GrpcRaw",
    "feedback": "Feedback",
}


def commands() -> list[click.Command]:
    """The commands of this noun."""
    return [load]


@click.command()
@click.option("--model", help="A registered model.  [default: the only one]")
@click.option("--model-version", help="A version's number or an alias.  [default: the champion]")
@click.option("--host", default="http://127.0.0.1:3000", show_default=True, help="REST.")
@click.option("--grpc-host", default="127.0.0.1:8001", show_default=True, help="gRPC.")
@click.option(
    "--protocol",
    "protocols",
    type=click.Choice(list(USERS)),
    multiple=True,
    default=tuple(USERS),
    help="How users ask; may be given more than once.  [default: all of them]",
)
@click.option("--shape", type=click.Choice(NAMES), default="steady", show_default=True)
@click.option("--users", default=20, show_default=True, help="Clients at the shape's height.")
@click.option("--rate", type=float, help="Requests a second of each; 0: no pause.  [default: 10]")
@click.option("--seconds", default=60, show_default=True, help="Length of the load.")
@click.option("--p99-ms", type=float, help="Objective for predictions.  [default: 100]")
@click.option("--max-error-share", type=float, help="Objective.  [default: 0.001]")
@click.option("--shift", help="Drift: column=standard deviations, ...")
@click.option("--mix", help="Drift: column=category:share, ...")
@click.option("--blank", help="Drift: column=share, ...")
@click.option("--html", type=click.Path(dir_okay=False), help="Write a report there.")
@click.option("--processes", type=click.IntRange(1, 64), help="Of the generator.  [default: 1]")
def load(
    *, users: int, seconds: int, protocols: tuple[str, ...], **options: str | float | None
) -> None:
    """Put load on a service with rows of a registered model's reference, and judge it.

    Exits with 0 where the objectives are met, 1 where one is missed, 2 where the load cannot be
    run, 3 where the generator itself was the bottleneck. DRIFTLINE_API_KEY holds the key to call
    with. `locust -f loadtests/locustfile.py` offers the same with locust's own page.
    """
    if importlib.util.find_spec("locust") is None:
        raise click.ClickException("locust is not installed; expected driftline[loadtests]")
    found = importlib.util.find_spec("loadtests.locustfile")
    assert found is not None
    assert found.origin is not None
    processes = options.pop("processes")
    stated = [
        part
        for name, value in options.items()
        if value is not None
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    sizes = ["--users", str(users), "--run-time", f"{seconds}s"]
    locust = [sys.executable, "-m", "locust", "-f", found.origin, "--loglevel", "WARNING"]
    asked = [*sizes, *stated, *(USERS[name] for name in protocols)]
    alone = ["--headless", "--only-summary"]
    shared = _start_workers([*locust, *asked], int(processes)) if processes else []
    # In this process's place, so that Ctrl-C reaches locust, which then still gives its verdict.
    os.execv(sys.executable, [*locust, *alone, *shared, *asked])  # noqa: S606


def _start_workers(command: list[str], count: int) -> list[str]:
    """Start locust's workers; the options of their master, with which they end.

    Not by locust's own --processes, which forks after the libraries have started threads.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    for _ in range(count):
        subprocess.Popen([*command, "--worker", "--master-port", port])  # noqa: S603
    bind = ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
    return ["--master", "--expect-workers", str(count), *bind]
