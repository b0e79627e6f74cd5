"""Run gates after a registration if the model's release policy requires this."""

import click

from eventlog.errors import DriftlineError
from eventlog.settings import Home
from registry.history.lifecycle import LifecycleState
from registry.history.rows import GateResult
from registry.manifest import Version
from registry.settings import open_history


def gate_registered(home: Home, version: Version, actor: str) -> None:
    """Run the gates of a newly registered version, unless they already ran under this policy.

    The version stays registered, even if a gate fails. A run that cannot start is reported.
    """
    state = open_history(home).state(version.model)
    if state.policy.on_register != "run" or not state.policy.gates or _ran(state, version.digest):
        return
    try:
        from driftline.gates.printed_run import run_and_print  # noqa: PLC0415  # needs the extra `monitoring`

        run_and_print(home, version.model, version.number, "on registration", actor)
    except (DriftlineError, ImportError) as error:
        click.echo(
            f"the gates did not run: {error}; run driftline gate {version.model} --version "
            f"{version.number}",
            err=True,
        )


def _ran(state: LifecycleState, digest: str) -> bool:
    gated = state.gated.get(digest)
    return gated is not None and gated.decode(GateResult).policy == state.policy_revision
