"""`driftline gates` shows or sets a model's gates; `driftline gate` runs them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console

from driftline.changes import SetReleasePolicy
from driftline.gates.figure_text import print_outcome
from driftline.local_actor import local_actor
from driftline.registry_access import (
    EXPECTED_REVISION,
    SERVER,
    RegistryAccess,
    open_access,
    open_remote,
)
from driftline.status import plain, table_of
from eventlog.settings import Home
from registry.gates.outcomes import GateReport
from registry.gates.policy import read_gate_file
from registry.gates.reports import open_reports
from registry.history.lifecycle import LifecycleState, reduce_rows
from registry.history.rows import GateResult
from registry.settings import open_history

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [gates, gate]


@click.command()
@click.argument("model")
@click.option("--file", type=_FILE, help="YAML file of the new gates, see docs/how-to/gates.md.")
@click.option("--why", default="", help="Reason, recorded with the change.")
@click.option("--version", "number", default="", help="Show the latest report of this version.")
@EXPECTED_REVISION
@SERVER
def gates(  # noqa: PLR0913  # one argument per option
    *,
    model: str,
    file: Path | None,
    why: str,
    number: str,
    expected_revision: int | None,
    server: str,
) -> None:
    """Show or set the gates of MODEL: checks that a version must pass before it can be champion.

    New gates replace the current gates, and make earlier gate runs and approvals stale.
    """
    access = open_access(server)
    if file is None:
        state = reduce_rows(access.history(model))
        _show_report(access, state, model, number) if number else _show(state)
        return
    if not why.strip():
        raise click.UsageError("expected --why: the reason is recorded with the change")
    gate_file = read_gate_file(file)
    policy = {"gates": gate_file.gates, "on_register": gate_file.on_register}
    change = SetReleasePolicy(policy=policy, why=why.strip(), expected_revision=expected_revision)
    done = access.change(model, change)
    if not done.known:
        click.echo(f"note: no version of {model} is registered yet", err=True)
    click.echo(f"{len(gate_file.gates)} gates of {model} are set (revision {done.revision})")


@click.command()
@click.argument("model")
@click.option("--version", "number", required=True, help="Number or alias of the version.")
@click.option("--why", default="", help="Reason, recorded with the run.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as HTML."
)
@SERVER
def gate(*, model: str, number: str, why: str, html: Path | None, server: str) -> None:
    """Run the gates of MODEL on a version and record the report; exit 1 unless all passed."""
    if server:
        result = open_remote(server).gate(model, number, why)
        if html is not None:
            html.write_bytes(open_remote(server).report_page(result.report))
        if not result.passed:
            raise click.exceptions.Exit(1)
        return
    home = Home.from_environment()
    number = open_history(home).aliases(model).get(number, number)
    from driftline.gates.printed_run import run_and_print  # noqa: PLC0415  # needs the extra `monitoring`

    run = run_and_print(home, model, number, why, local_actor("register", model).name)
    if html is not None:
        html.write_bytes(open_reports(home).page(run.digest).read_bytes())
    if run.report.verdict != "passed" or run.stale:
        raise click.exceptions.Exit(1)


def _show(state: LifecycleState) -> None:
    """Print the gates of the policy, and the result of each version."""
    policy = state.policy
    if not policy.gates:
        click.echo("no gates")
        return
    row = state.policy_row
    assert row is not None
    why = f": {row.why}" if row.why else ""
    click.echo(f"set by {row.actor or 'unknown'} in revision {row.revision}, {_at(row.time)}{why}")
    brief = {name: _brief(gate) for name, gate in policy.gates.items()}
    shown = {"gates": brief} | ({"on_register": "run"} if policy.on_register else {})
    click.echo(yaml.safe_dump(shown, sort_keys=False), nl=False)
    table = table_of("version", "gates", "run", "by", "report")
    for number, registered in state.registered.items():
        gated = state.gated.get(registered.digest)
        result = state.missing_gates(registered.digest) or "passed"
        run = ("", "", "") if gated is None else (_at(gated.time), gated.actor, gated.evidence[:12])
        table.add_row(number, plain(result), *(plain(cell) for cell in run))
    Console().print(table)


def _show_report(access: RegistryAccess, state: LifecycleState, model: str, number: str) -> None:
    number = state.aliases.get(number, number)
    gated = state.gated.get(state.digest_of(number))
    if gated is None:
        click.echo(f"no gates were run on version {number} of {model}")
        return
    report, page = access.report(gated.evidence)
    _print_report(report)
    click.echo(f"recorded in revision {gated.revision}, verdict {gated.decode(GateResult).verdict}")
    click.echo(f"report: {page}")


def _print_report(report: GateReport) -> None:
    champion = f", champion version {report.champion.number}" if report.champion else ""
    click.echo(f"{report.model} version {report.number}: {report.verdict}{champion}")
    for outcome in report.gates:
        print_outcome(outcome, every=True)


def _brief(gate: Any) -> Any:
    """Return a gate's specification, with the golden requests replaced by their number."""
    if isinstance(gate, dict) and isinstance(gate.get("requests"), list):
        return gate | {"requests": f"{len(gate['requests'])} golden requests"}
    return gate


def _at(time: int) -> str:
    return f"{datetime.fromtimestamp(time / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
