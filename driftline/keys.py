"""`driftline keys`: create, list and revoke API keys."""

import time
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from access.keyfile import KeyFile
from access.keys import Key, make_key, revoke_key
from eventlog.settings import Home


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [keys]


@click.group()
def keys() -> None:
    """Create, list and revoke API keys of the service and the status page."""


@keys.command()
@click.option("--name", required=True, help="Owner of the key; two active keys may share a name.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help="predict, predict:MODEL, read or operate; repeat for several.",
)
@click.option("--expires", default="", help="Lifetime: 12h, 90d, 4w.  [default: unlimited]")
def create(name: str, scopes: tuple[str, ...], expires: str) -> None:
    """Create a key and print it once: only its hash is stored."""
    shown = []

    def add(held: list[Key]) -> list[Key]:
        made, text = make_key(
            held,
            name=name,
            scopes=list(scopes),
            expires=expires,
            now=time.time(),
        )
        shown.append(text)
        return [*held, made]

    _file().change(add)
    click.echo("Store this key now; it cannot be shown again:", err=True)
    click.echo(shown[0])


@keys.command("list")
def list_keys() -> None:
    """List every key, expired and revoked ones too; secrets are never shown."""
    held = _file().read() or []
    if not held:
        click.echo("No keys: on loopback every caller has every scope.")
        return
    table = Table("id", "name", "scopes", "created", "expires", "state", box=None)
    now = time.time()
    for key in held:
        expires = "never" if key.expires is None else _day(key.expires)
        scopes = " ".join(key.scopes)
        table.add_row(key.id, key.name, scopes, _day(key.created), expires, _state(key, now))
    Console().print(table)


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Revoke a key; running workers apply it within one second."""
    _file().change(lambda held: revoke_key(held, key_id, time.time()))
    click.echo(f"{key_id} is revoked")


def _file() -> KeyFile:
    return KeyFile.of(Home.from_environment())


def _state(key: Key, now: float) -> str:
    if key.revoked is not None:
        return f"revoked {_day(key.revoked)}"
    return "live" if key.is_live(now) else "expired"


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
