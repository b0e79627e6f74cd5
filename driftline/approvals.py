"""Commands for approvals: `driftline request`, `approve`, `reject` and `release-policy`."""

from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from driftline.changes import Approve, Reject, RequestApproval, SetReleasePolicy
from driftline.registry_access import EXPECTED_REVISION, SERVER, open_access
from driftline.registry_change import ChangeResult
from driftline.rollout import rollout_line
from registry.errors import InvalidPolicy
from registry.gates.policy import read_release_policy
from registry.history.lifecycle import reduce_rows
from registry.yaml_text import parse_yaml

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
@SERVER
def request(*, model: str, number: str, alias: str, why: str, server: str) -> None:
    """Ask for approval of a version of MODEL for an alias."""
    done = open_access(server).change(model, RequestApproval(number=number, alias=alias, why=why))
    click.echo(
        f"approval of {model} version {number} for {alias} requested{_report(done)} "
        f"(revision {done.revision})"
    )


@click.command()
@click.argument("model")
@_VERSION
@_ALIAS
@_WHY
@click.option("--digest", default="", help="First digits of the content that you checked.")
@click.option("--report", default="", help="First digits of the gate report that you read.")
@SERVER
def approve(  # noqa: PLR0913  # one argument per option
    *, model: str, number: str, alias: str, why: str, digest: str, report: str, server: str
) -> None:
    """Approve a version of MODEL for an alias, if you neither registered nor requested it.

    Your roles are the roles of your key or, without --server, your groups on this machine. With
    --digest or --report, the approval is refused if the version has a different digest or report.
    """
    change = Approve(number=number, alias=alias, why=why, digest=digest, report=report)
    done = open_access(server).change(model, change)
    click.echo(
        f"{done.actor} approved {model} version {number} for {alias}{_report(done)} "
        f"(revision {done.revision})"
    )
    if done.rollout is not None:
        click.echo(f"by the release policy, {rollout_line(model, done.rollout)}")
    if done.note:
        click.echo(done.note, err=True)


@click.command()
@click.argument("model")
@_VERSION
@_WHY
@SERVER
def reject(*, model: str, number: str, why: str, server: str) -> None:
    """Reject a version of MODEL; this is final for its content."""
    done = open_access(server).change(model, Reject(number=number, why=why))
    click.echo(f"{done.actor} rejected {model} version {number} (revision {done.revision})")


@click.command("release-policy")
@click.argument("model")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file of the fields to set.",
)
@click.option("--why", default="", help="Reason, recorded with the change.")
@EXPECTED_REVISION
@SERVER
def release_policy(
    *, model: str, file: Path | None, why: str, expected_revision: int | None, server: str
) -> None:
    """Show or set the release policy of MODEL: the gates and approvals that its aliases require.

    For example: `approvals: {champion: {required: 1, from: [risk]}}`. Fields that are not in the
    file keep their values. A new policy makes earlier gate runs, requests and approvals stale.
    """
    access = open_access(server)
    if file is None:
        policy = reduce_rows(access.history(model)).policy
        click.echo(yaml.safe_dump(msgspec.to_builtins(policy)) or "{}", nl=False)
        return
    if not why.strip():
        raise click.UsageError("expected --why: the reason is recorded with the change")
    change = SetReleasePolicy(
        policy=_read(file), why=why.strip(), expected_revision=expected_revision
    )
    done = access.change(model, change)
    click.echo(f"release policy of {model} is set (revision {done.revision})")


def _read(file: Path) -> dict[str, Any]:
    """Return the fields in a policy file; raises InvalidPolicy or InvalidGates."""
    try:
        # Convert keys and dates to text, as the history row stores them.
        content: Any = parse_yaml(file.read_bytes()) or {}
        content = msgspec.to_builtins(content, str_keys=True)
    except (yaml.YAMLError, TypeError) as error:
        raise InvalidPolicy(f"{file}: {' '.join(str(error).split())}") from None
    read_release_policy(str(file), content)
    fields: dict[str, Any] = content
    return fields


def _report(done: ChangeResult) -> str:
    """Return the decision's gate report as part of a sentence, or "" if there is no report."""
    return f", gate report {done.report[:12]}" if done.report else ""
