"""`driftline load`: run a load test against a service and check its objectives."""

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Mapping

import click

from driftline.number_types import SECONDS, FiniteRange
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
@click.option("--model", help="A registered model.  [default: the only model]")
@click.option("--model-version", help="Number or alias of a version.  [default: champion]")
@click.option("--host", help="REST address.  [default: http://127.0.0.1:DRIFTLINE_SERVICE_PORT]")
@click.option("--grpc-host", help="gRPC address.  [default: 127.0.0.1:DRIFTLINE_SERVICE_GRPC_PORT]")
@click.option(
    "--protocol",
    "protocols",
    type=click.Choice(list(USERS)),
    multiple=True,
    help="Protocol of the clients; may be repeated.  [default: all]",
)
@click.option("--shape", type=click.Choice(NAMES), default="steady", show_default=True)
@click.option(
    "--users",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="Number of clients at the peak of the shape.",
)
@click.option(
    "--rate",
    type=FiniteRange(min=0),
    help="Requests per second and client; 0 for no pause.  [default: 10]",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, 31_536_000),
    help="Duration.  [default: 60, or the duration of the logged period]",
)
@click.option("--warm-up", type=SECONDS, help="Seconds at the start that are not measured.")
@click.option("--from-log", is_flag=True, help="Send the requests of the local log again.")
@click.option("--from", help="Start of the logged period, UTC: 2026-01-31T12:00.")
@click.option("--to", help="End of the logged period, UTC.  [default: now]")
@click.option("--last", help="Length of the logged period: 30m, 1h, 7d.  [default: 1h]")
@click.option(
    "--speed",
    type=FiniteRange(min=0, min_open=True),
    help="Speed factor for logged requests.  [default: 1]",
)
@click.option(
    "--p99-ms",
    type=FiniteRange(min=0, min_open=True),
    help="Objective: p99 latency of predictions, in milliseconds.  [default: 100]",
)
@click.option(
    "--max-error-share",
    type=FiniteRange(0, 1),
    help="Objective: share of failed requests.  [default: 0.001]",
)
@click.option(
    "--monitored",
    is_flag=True,
    help="Include the requests in the monitor's windows; implied by the drift options.",
)
@click.option("--shift", help="Drift: shift columns. column=standard deviations, ...")
@click.option("--mix", help="Drift: replace values by a category. column=category:share, ...")
@click.option("--blank", help="Drift: remove values. column=share, ...")
@click.option("--html", type=click.Path(dir_okay=False), help="Write an HTML report to this file.")
@click.option(
    "--measurements", type=click.Path(dir_okay=False), help="Write the measurements as JSON."
)
@click.option(
    "--processes", type=click.IntRange(1, 64), help="Number of generator processes.  [default: 1]"
)
def load(
    *,
    users: int,
    seconds: int | None,
    protocols: tuple[str, ...],
    monitored: bool,
    from_log: bool,
    **options: str | float | None,
) -> None:
    """Run a load test with rows of a model's reference, with generated rows or logged requests.

    Exits 0 if the objectives are met, 1 if an objective is missed, 2 if the test cannot run, 3 if
    the load generator was the bottleneck. DRIFTLINE_API_KEY is the API key. `locust -f
    loadtests/locustfile.py` runs the same test with locust's web page.
    """
    if importlib.util.find_spec("locust") is None:
        raise click.ClickException("locust is not installed: pip install 'driftline[loadtests]'")
    spec = importlib.util.find_spec("loadtests.locustfile")
    assert spec is not None
    assert spec.origin is not None
    _check_replay(options, protocols, from_log=from_log)
    processes = options.pop("processes")
    options_of_locust = [
        part
        for name, value in options.items()
        if value is not None
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    sizes = ["--users", str(users)]
    if seconds is not None or not from_log:
        sizes += ["--run-time", f"{60 if seconds is None else seconds}s"]
    # -P, because service.py or registry/ in the current folder must not shadow Driftline's package.
    locust = [sys.executable, "-P", "-m", "locust", "-f", spec.origin, "--loglevel", "WARNING"]
    if monitored:
        options_of_locust.append("--monitored")
    if from_log:
        options_of_locust.append("--from-log")
    arguments = [*sizes, *options_of_locust, *(USERS[name] for name in protocols or USERS)]
    headless = ["--headless", "--only-summary"]
    shared = _start_workers([*locust, *arguments], int(processes)) if processes else []
    # Replaces this process, so that Ctrl-C reaches locust and locust still prints its summary.
    os.execv(sys.executable, [*locust, *headless, *shared, *arguments])  # noqa: S606


def _check_replay(
    options: Mapping[str, str | float | None], protocols: tuple[str, ...], *, from_log: bool
) -> None:
    """Raise UsageError for options that cannot be combined."""
    if from_log:
        for name in ("rate", "processes"):
            if options[name] is not None:
                raise click.UsageError(f"--{name}: has no effect on logged requests; omit it")
        if protocols:
            raise click.UsageError("--protocol: logged requests use their own protocols; omit it")
        return
    for name in ("from", "to", "last", "speed"):
        if options[name] is not None:
            raise click.UsageError(f"--{name}: selects logged requests; expected --from-log too")


def _start_workers(command: list[str], count: int) -> list[str]:
    """Start locust workers, which exit with their master; return the master's options.

    Locust's own --processes is not used, because it forks after libraries have started threads.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    for _ in range(count):
        subprocess.Popen([*command, "--worker", "--master-port", port])  # noqa: S603
    bind = ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
    return ["--master", "--expect-workers", str(count), *bind]
