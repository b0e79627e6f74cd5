"""`driftline load`: run a load test against a service and check its objectives."""

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
    """Return the commands of this module."""
    return [load]


@click.command()
@click.option("--model", help="A registered model.  [default: the only one]")
@click.option("--model-version", help="Number or alias of a version.  [default: champion]")
@click.option("--host", default="http://127.0.0.1:3000", show_default=True, help="REST.")
@click.option("--grpc-host", default="127.0.0.1:8001", show_default=True, help="gRPC.")
@click.option(
    "--protocol",
    "protocols",
    type=click.Choice(list(USERS)),
    multiple=True,
    default=tuple(USERS),
    help="Protocol of the clients; repeat for several.  [default: all]",
)
@click.option("--shape", type=click.Choice(NAMES), default="steady", show_default=True)
@click.option("--users", default=20, show_default=True, help="Clients at the peak of the shape.")
@click.option("--rate", type=float, help="Requests/s per client; 0: no pause.  [default: 10]")
@click.option("--seconds", default=60, show_default=True, help="Duration of the load.")
@click.option("--p99-ms", type=float, help="Objective: p99 latency of predictions.  [default: 100]")
@click.option("--max-error-share", type=float, help="Objective: failed share.  [default: 0.001]")
@click.option(
    "--monitored", is_flag=True, help="Include the requests in the monitor's windows; drift does."
)
@click.option("--shift", help="Drift: column=standard deviations, ...")
@click.option("--mix", help="Drift: column=category:share, ...")
@click.option("--blank", help="Drift: column=share, ...")
@click.option("--html", type=click.Path(dir_okay=False), help="Write an HTML report to this file.")
@click.option(
    "--measurements", type=click.Path(dir_okay=False), help="Write what was measured as JSON."
)
@click.option("--processes", type=click.IntRange(1, 64), help="Generator processes.  [default: 1]")
def load(
    *,
    users: int,
    seconds: int,
    protocols: tuple[str, ...],
    monitored: bool,
    **options: str | float | None,
) -> None:
    """Run a load test with rows of a registered model's reference, or generated ones.

    Exits 0 if the objectives are met, 1 if one is missed, 2 if the test cannot run, 3 if the load
    generator was the bottleneck. DRIFTLINE_API_KEY holds the API key. `locust -f
    loadtests/locustfile.py` runs the same test with the web page of locust.
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
    # -P: a service.py or registry/ in the current folder must not shadow our package.
    locust = [sys.executable, "-P", "-m", "locust", "-f", found.origin, "--loglevel", "WARNING"]
    if monitored:
        stated.append("--monitored")
    asked = [*sizes, *stated, *(USERS[name] for name in protocols)]
    alone = ["--headless", "--only-summary"]
    shared = _start_workers([*locust, *asked], int(processes)) if processes else []
    # Replaces this process, so that Ctrl-C reaches locust and locust still prints its summary.
    os.execv(sys.executable, [*locust, *alone, *shared, *asked])  # noqa: S606


def _start_workers(command: list[str], count: int) -> list[str]:
    """Start locust workers; return the options of their master, with which they exit.

    The --processes option of locust is not used: it forks after libraries have started threads.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    for _ in range(count):
        subprocess.Popen([*command, "--worker", "--master-port", port])  # noqa: S603
    bind = ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
    return ["--master", "--expect-workers", str(count), *bind]
