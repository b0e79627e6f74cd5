"""`driftline keys`: make, list and revoke the keys of callers."""

import time
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from access.keyfile import KeyFile
from access.keys import Key, make_key, revoke_key
from eventlog.settings import Home


def commands() -> list[click.Command]:
    """The commands of this noun."""
    return [keys]


@click.group()
def keys() -> None:
    """Say who may call the service and the status page, and for what."""


@keys.command()
@click.option("--name", required=True, help="Whose key it is; two live keys may share a name.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help="predict, predict:MODEL, read or operate; may be given more than once.",
)
@click.option("--expires", default="", help="After which time, e.g. 12h, 90d or 4w.  [never]")
def create(name: str, scopes: tuple[str, ...], expires: str) -> None:
    """Make a key and show it this once: only a hash of it is kept."""
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
    click.echo("Keep it safe, it cannot be shown again:", err=True)
    click.echo(shown[0])


@keys.command("list")
def list_keys() -> None:
    """List every key, also those that no longer open anything; never a secret."""
    held = _file().read() or []
    if not held:
        click.echo("There are no keys: on loopback everybody may do everything.")
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
    """Let a key open nothing any more; running workers notice within a second."""
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
