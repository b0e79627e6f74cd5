"""`driftline serve`: run the inference service."""

import os
from contextlib import closing

import click

from access.ports import reserve_ports
from driftline.number_types import INTEGER
from driftline.setting_names import require_known
from driftline.start_checks import check_stores
from eventlog.process_lock import ProcessLock
from eventlog.settings import Home


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [serve]


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=INTEGER, help="REST port.  [default: 3000]")
@click.option("--grpc-port", type=INTEGER, help="gRPC port.  [default: 8001]")
@click.option(
    "--workers",
    type=INTEGER,
    help="Number of worker processes; each loads every model.  [default: 1]",
)
@click.option(
    "--allow-anonymous",
    is_flag=True,
    default=None,
    help="Listen on a non-loopback address without any API key.",
)
def serve(**options: str | int | bool | None) -> None:
    """Serve the registered models over REST and gRPC until Ctrl-C; run one service per home.

    The other settings are environment variables DRIFTLINE_SERVICE_<NAME>. An option overrides its
    variable.
    """
    from service.auth.configuration import addresses, check_start  # noqa: PLC0415  # not needed for --help
    from service.settings import PREFIX, read_settings  # noqa: PLC0415

    require_known()
    overrides = {name: str(value) for name, value in options.items() if value is not None}
    os.environ.update({f"{PREFIX}{name.upper()}": value for name, value in overrides.items()})
    settings = read_settings()
    home = Home.from_environment()
    check_stores(home)
    check_start(settings, home)
    with ProcessLock(home.lock("service"), "service"), reserve_ports(addresses(settings)):
        from registry.settings import open_history  # noqa: PLC0415  # not needed for --help
        from service.supervisor import run  # noqa: PLC0415  # takes seconds to import

        with closing(open_history(home)) as history:
            history.revision()  # raises an error if the registry cannot be read
        run(settings)
