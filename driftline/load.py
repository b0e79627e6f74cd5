"""`driftline load`: load on a running service, and whether it keeps its objectives."""

import importlib.util
import subprocess
import sys

import click

USERS = {
    "rest-json": "RestJson",
    "rest-binary": "RestBinary",
    "grpc": "GrpcRaw",
    "feedback": "Feedback",
}
SHAPES = ("steady", "step", "spike", "soak", "overload", "drift")


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
@click.option("--shape", type=click.Choice(SHAPES), default="steady", show_default=True)
@click.option("--users", default=20, show_default=True, help="Clients at the shape's height.")
@click.option("--rate", type=float, help="Requests a second of each; 0: no pause.  [default: 10]")
@click.option("--seconds", default=60, show_default=True, help="Length of the load.")
@click.option("--p99-ms", type=float, help="Objective for predictions.  [default: 100]")
@click.option("--max-error-share", type=float, help="Objective.  [default: 0.001]")
@click.option("--shift", help="Drift: column=standard deviations, ...")
@click.option("--mix", help="Drift: column=category:share, ...")
@click.option("--blank", help="Drift: column=share, ...")
@click.option("--html", type=click.Path(dir_okay=False), help="Write a report there.")
@click.option("--processes", type=int, help="Of the generator.  [default: 1]")
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
    quiet = ["--headless", "--only-summary", "--loglevel", "WARNING"]
    if not options.get("rate") and options["shape"] == "overload":
        options["rate"] = 0.0
    stated = [
        part
        for name, value in options.items()
        if value is not None
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    sizes = ["--users", str(users), "--run-time", f"{seconds}s"]
    command = [sys.executable, "-m", "locust", "-f", found.origin, *quiet, *sizes, *stated]
    status = subprocess.run([*command, *(USERS[name] for name in protocols)], check=False)  # noqa: S603
    sys.exit(status.returncode)
