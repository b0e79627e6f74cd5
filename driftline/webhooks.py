"""`driftline webhooks` and `deadletters`: sent webhooks, and records that could not be ingested."""

import sys
import uuid

import click
from rich.console import Console

from driftline.number_types import INTEGER
from driftline.status import open_store, plain, table_of
from eventlog.errors import SettingError
from eventlog.settings import from_environment
from monitoring.presenter import formats
from monitoring.presenter.headline import disabled_receiver
from monitoring.settings import MonitorSettings
from telemetry.clock import now_us


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [webhooks, deadletters]


@click.group()
def webhooks() -> None:
    """Test, list and retry webhooks, or enable a disabled receiver."""


@webhooks.command()
def test() -> None:
    """Send a signed test request to the configured address and show the reply."""
    # These imports need an HTTP client, which the other commands do not need.
    import asyncio  # noqa: PLC0415

    from monitoring.webhooks.body import trial  # noqa: PLC0415
    from monitoring.webhooks.delivery import Receiver  # noqa: PLC0415

    receiver = Receiver.configured(from_environment(MonitorSettings, "DRIFTLINE_MONITOR_"))
    if receiver is None:
        raise SettingError("DRIFTLINE_MONITOR_WEBHOOK_URL is not set; expected an address")
    now = now_us()
    webhook_id = f"trial_{uuid.uuid4().hex}"
    answer = asyncio.run(receiver.post(webhook_id, trial(webhook_id, now), now))
    click.echo(f"{receiver.url} replied {answer.status}")
    if answer.text.strip():
        click.echo(plain(answer.text.strip()).plain)
    sys.exit(0 if receiver.received(answer) else 1)


@webhooks.command("list")
def list_webhooks() -> None:
    """List every webhook with its state and last error, newest first."""
    for stop in open_store().disabled():
        click.echo(plain(disabled_receiver(stop)).plain)
    table = table_of("Webhook", "Created", "State", "Attempts", "Last error")
    for delivery in open_store().deliveries():
        created = formats.moment(delivery.created)
        style = {"delivered": "green", "dead": "bold red"}.get(delivery.state, "yellow")
        state = plain(delivery.state, style)
        table.add_row(
            delivery.webhook_id, created, state, str(delivery.attempts), plain(delivery.last_error)
        )
    Console().print(table)


@webhooks.command()
@click.argument("webhook_id")
def retry(webhook_id: str) -> None:
    """Retry a dead webhook under the same id."""
    if not open_store().revive(webhook_id, now_us()):
        raise click.ClickException(
            f"no dead webhook {webhook_id!r}; `driftline webhooks list` lists all webhooks"
        )
    click.echo(f"{webhook_id} is pending; a running monitor sends it")


@webhooks.command()
def enable() -> None:
    """Enable receivers that were disabled after status 410, and send pending webhooks."""
    before = open_store().enable()
    if not before:
        raise click.ClickException("no receiver is disabled")
    for receiver in before:
        click.echo(f"{plain(receiver.host).plain} is enabled; pending webhooks are sent")


@click.group()
def deadletters() -> None:
    """List and retry records of the log that could not be ingested."""


@deadletters.command("list")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="Number of dead letters, newest first.",
)
def list_letters(limit: int) -> None:
    """List dead letters with origin, reason and first bytes."""
    letters = open_store().dead_letters(limit)
    if not letters:
        click.echo("There are no dead letters.")
        return
    table = table_of("Number", "Origin", "Reason", "Begins with")
    for letter in letters:
        begins = letter.body[:60].decode(errors="replace")
        table.add_row(str(letter.number), letter.origin, plain(letter.reason), plain(begins))
    Console().print(table)


@deadletters.command("retry")
@click.argument("numbers", type=INTEGER, nargs=-1, required=True)
def retry_letters(numbers: tuple[int, ...]) -> None:
    """Retry dead letters, for example after their model was registered.

    The running monitor ingests the records. A record that fails again is dead-lettered again.
    """
    store = open_store()
    for number in numbers:
        if not store.retry(number):
            raise click.ClickException(
                f"no dead letter {number} with a record; `driftline deadletters list` lists all "
                "dead letters"
            )
        click.echo(f"{number} is pending; the running monitor retries it")
