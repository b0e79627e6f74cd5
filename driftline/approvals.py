"""`driftline request`, `approve`, `reject` and `release-policy`."""

from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from driftline.local_actor import local_actor
from eventlog.settings import Home
from registry.approvals import Approvals, ReadSubject
from registry.errors import InvalidPolicy
from registry.gates.policy import check_gates
from registry.history.rows import ApprovalRule, ReleasePolicy
from registry.history.store import History
from registry.settings import open_history

_WHY = click.option("--why", required=True, help="Reason, recorded with the decision.")
_VERSION = click.option("--version", "number", required=True, help="Number of the version.")
_ALIAS = click.option("--alias", default="champion", show_default=True, help="Alias to set.")


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [request, approve, reject, release_policy]


@click.command()
@click.argument("model")
@_VERSION
@_ALIAS
@_WHY
def request(model: str, number: str, alias: str, why: str) -> None:
    """Ask for approval of a version of MODEL for an alias."""
    actor = local_actor("register", model).name
    revision = _approvals().request(model, number, alias, actor=actor, why=why)
    report = _report(model, number, alias)
    click.echo(
        f"approval of {model} version {number} for {alias} requested{report} (revision {revision})"
    )


@click.command()
@click.argument("model")
@_VERSION
@_ALIAS
@_WHY
@click.option("--digest", default="", help="First digits of the content that you checked.")
@click.option("--report", default="", help="First digits of the gate report that you read.")
def approve(  # noqa: PLR0913  # its options
    *, model: str, number: str, alias: str, why: str, digest: str, report: str
) -> None:
    """Approve a version of MODEL for an alias, if you neither registered nor requested it.

    Your roles are those of your key, or your groups on this machine. With --digest or --report, the
    approval is refused if the version has others by then.
    """
    actor, roles = local_actor("approve", model)
    read = ReadSubject(digest, report)
    revision = _approvals().approve(
        model, number, alias, actor=actor, why=why, roles=roles, read=read
    )
    approved = _report(model, number, alias)
    click.echo(
        f"{actor} approved {model} version {number} for {alias}{approved} (revision {revision})"
    )


@click.command()
@click.argument("model")
@_VERSION
@_WHY
def reject(model: str, number: str, why: str) -> None:
    """Reject a version of MODEL; this is final for its content."""
    actor = local_actor("approve", model).name
    revision = _approvals().reject(model, number, actor=actor, why=why)
    click.echo(f"{actor} rejected {model} version {number} (revision {revision})")


@click.command("release-policy")
@click.argument("model")
@click.option(
    "--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML to set."
)
@click.option("--why", default="", help="Reason, recorded with the change.")
def release_policy(model: str, file: Path | None, why: str) -> None:
    """Show or set what a version of MODEL must show before it can be champion.

    For example: `approvals: {champion: {required: 1, from: [risk]}}`. Fields that the file leaves
    out stay. A new policy makes earlier gate runs, requests and approvals stale.
    """
    if file is None:
        policy = _history().state(model).policy
        click.echo(yaml.safe_dump(msgspec.to_builtins(policy)) or "{}", nl=False)
        return
    if not why.strip():
        raise click.UsageError("expected --why: the reason is recorded with the change")
    policy, stated = _read(file)
    before = _history().state(model).policy
    kept = {name: getattr(before, name) for name in before.__struct_fields__ if name not in stated}
    policy = msgspec.structs.replace(policy, **kept)
    actor = local_actor("admin", model).name
    revision = _approvals().set_policy(model, policy, actor=actor, why=why.strip())
    click.echo(f"release policy of {model} is set (revision {revision})")


def _read(file: Path) -> tuple[ReleasePolicy, dict[str, Any]]:
    """Return a policy, and the fields that its file states."""
    try:
        stated: Any = yaml.safe_load(file.read_bytes()) or {}
        policy = msgspec.convert(stated, ReleasePolicy)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        line = " ".join(str(error).split())
        raise InvalidPolicy(f"{file}: {line}; expected gates and approvals") from None
    _require_fields(str(file), stated, ReleasePolicy)
    for alias, rule in stated.get("approvals", {}).items():
        _require_fields(f"{file}: approvals of {alias}", rule, ApprovalRule)
    check_gates(policy.gates, f"{file}: ")
    return policy, stated


def _require_fields(place: str, stated: dict[str, Any], kind: type[msgspec.Struct]) -> None:
    """Refuse misspelt fields; rows of a newer release may have more."""
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    if unknown := sorted(set(stated) - set(known)):
        raise InvalidPolicy(f"{place}: no field {unknown[0]!r}; expected {', '.join(known)}")


def _report(model: str, number: str, alias: str) -> str:
    """Return which gate report the decision refers to, "" without one."""
    state = _history().state(model)
    report = state.subject(alias, state.digest_of(number)).report
    return f", gate report {report[:12]}" if report else ""


def _approvals() -> Approvals:
    return Approvals(_history())


def _history() -> History:
    return open_history(Home.from_environment(), wait=True)
