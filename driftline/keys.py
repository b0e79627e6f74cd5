"""`driftline keys`: create, list and revoke API keys, and define roles."""

import time
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from access.errors import InvalidKey
from access.keyfile import KeyFile, Roles
from access.keys import SCOPES, Key, make_key, revoke_key
from eventlog.settings import Home

_NOW_REQUIRED = (
    "From now on every caller of the service and the status page needs a key, also on loopback; "
    "callers without a key get status 401."
)


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
    help=f"{', '.join(SCOPES)}; may be repeated. For one model, append its name: predict:MODEL.",
)
@click.option(
    "--role", "roles", multiple=True, help="Role defined with driftline keys role; may be repeated."
)
@click.option("--expires", default="", help="Lifetime: 12h, 90d, 4w.  [default: unlimited]")
def create(name: str, scopes: tuple[str, ...], roles: tuple[str, ...], expires: str) -> None:
    """Create a key and print it once; only its hash is stored."""
    shown = []
    was_open = not _file().read()
    role_scopes = _file().roles()
    if unknown := sorted(set(roles) - role_scopes.keys()):
        raise InvalidKey(
            f"role {unknown[0]!r}: expected {_listed(role_scopes)}; see driftline keys role"
        )

    def add(stored_keys: list[Key]) -> list[Key]:
        new_key, text = make_key(
            stored_keys,
            name=name,
            scopes=list(scopes),
            expires=expires,
            now=time.time(),
            roles=roles,
        )
        shown.append(text)
        return [*stored_keys, new_key]

    _file().change(add)
    if was_open:
        click.echo(_NOW_REQUIRED, err=True)
    click.echo("Store this key now; it cannot be shown again:", err=True)
    click.echo(shown[0])


@keys.command("list")
def list_keys() -> None:
    """List every key, including expired and revoked keys; secrets are never shown."""
    stored_keys = _file().read() or []
    if not stored_keys:
        click.echo("No keys: every caller on loopback has every scope.")
        return
    table = Table("id", "name", "roles", "scopes", "created", "expires", "state", box=None)
    now = time.time()
    for key in stored_keys:
        expires = "never" if key.expires is None else _day(key.expires)
        scopes, roles = " ".join(key.scopes), " ".join(key.roles)
        table.add_row(key.id, key.name, roles, scopes, _day(key.created), expires, _state(key, now))
    Console().print(table)


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Revoke a key; running workers refuse it within one second."""
    _file().change(lambda stored_keys: revoke_key(stored_keys, key_id, time.time()))
    click.echo(f"{key_id} is revoked")


@keys.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, help="Scope as in driftline keys create; may be repeated."
)
@click.option("--delete", is_flag=True, help="Delete the role.")
def role(name: str, scopes: tuple[str, ...], delete: bool) -> None:  # noqa: FBT001  # click calls it by name
    """Set the scopes of the role NAME for every key with this role.

    Running workers apply the change within one second. A release policy can require approvals from
    a role.
    """
    if delete == bool(scopes):
        raise click.UsageError("expected --scope, or --delete")

    def edit(roles: Roles, stored_keys: list[Key]) -> Roles:
        if not delete:
            return {**roles, name: sorted(set(scopes))}
        if name not in roles:
            raise InvalidKey(f"role {name!r}: expected {_listed(roles)}")
        now = time.time()
        if users := sorted(
            {key.name for key in stored_keys if name in key.roles and key.is_live(now)}
        ):
            raise InvalidKey(f"role {name!r} is used by the keys of {', '.join(users)}")
        return {other: its_scopes for other, its_scopes in roles.items() if other != name}

    _file().change_roles(edit)
    click.echo(f"{name} is deleted" if delete else f"{name}: {' '.join(sorted(set(scopes)))}")


@keys.command("roles")
def list_roles() -> None:
    """List every role and its scopes."""
    role_scopes = _file().roles()
    if not role_scopes:
        click.echo("No roles; see driftline keys role --help.")
        return
    table = Table("role", "scopes", box=None)
    for name, scopes in sorted(role_scopes.items()):
        table.add_row(name, " ".join(scopes))
    Console().print(table)


def _listed(roles: Roles) -> str:
    return f"one of {', '.join(sorted(roles))}" if roles else "an existing role; there is none yet"


def _file() -> KeyFile:
    return KeyFile.of(Home.from_environment())


def _state(key: Key, now: float) -> str:
    if key.revoked is not None:
        return f"revoked {_day(key.revoked)}"
    return "live" if key.is_live(now) else "expired"


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
