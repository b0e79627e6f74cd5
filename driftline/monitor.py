"""`driftline monitor`: read the log, score windows, serve the status page, send webhooks."""

import click

from driftline.number_types import INTEGER
from driftline.setting_names import require_known


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [monitor]


@click.command()
@click.option("--host", help="Address of the status page.  [default: 127.0.0.1]")
@click.option("--port", type=INTEGER, help="Port of the status page.  [default: 3100]")
@click.option(
    "--allow-anonymous",
    is_flag=True,
    default=None,
    help="Listen on a non-loopback address without any API key.",
)
@click.option("--until-idle", is_flag=True, help="Exit when all events have been read and scored.")
@click.option("--close", is_flag=True, help="With --until-idle: also close open windows.")
def monitor(until_idle: bool, close: bool, **options: str | int | None) -> None:  # noqa: FBT001  # click's
    """Monitor the event log until SIGTERM; the settings are DRIFTLINE_MONITOR_*.

    A home has one monitor. With Kafka and PostgreSQL, several monitors can share the work.
    """
    from driftline.monitor_process import run_monitor  # noqa: PLC0415 - takes seconds to import

    require_known()
    overrides: dict[str, object] = {n: value for n, value in options.items() if value is not None}
    run_monitor(overrides, until_idle=until_idle, close=close)
