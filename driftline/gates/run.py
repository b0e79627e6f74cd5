"""Run every gate of a version and record the report; each home has one run at a time."""

import shutil
from collections.abc import Callable
from typing import NamedTuple

from driftline.gates.context import GateJob
from driftline.gates.process import COMMAND, run_gates
from driftline.logged_events import log_place
from eventlog.kafka_settings import KafkaSettings
from eventlog.process_lock import ProcessLock
from eventlog.settings import Home
from monitoring.web.gate_report_page import report_page
from registry.approvals import registered_digest
from registry.errors import InvalidGates
from registry.gates.outcomes import Champion, GateOutcome, GateReport, verdict_of
from registry.gates.reports import open_reports, record_run
from registry.gates.specification import Gate
from registry.gates.stated_gates import read_gates
from registry.history.lifecycle import LifecycleState
from registry.settings import open_history
from registry.store import Registry
from registry.stored_files import require_unchanged
from telemetry.clock import now_us


class Progress(NamedTuple):
    """Callbacks for a run's progress: start, steps and outcome of each gate."""

    started: Callable[[str, Gate], None]
    progressed: Callable[[str, str], None]
    ended: Callable[[GateOutcome], None]


class RecordedRun(NamedTuple):
    """A report and its place in the registry."""

    report: GateReport
    digest: str  # digest of the report
    revision: int  # history revision that records the run
    stale: str  # reason why a passed run does not count, "" if it counts


def gate_version(  # noqa: PLR0913  # the fields of a history row are separate arguments
    home: Home,
    model: str,
    number: str,
    *,
    actor: str,
    why: str,
    progress: Progress,
    command: tuple[str, ...] = COMMAND,
) -> RecordedRun:
    """Run the gates of the model's release policy on a version, and record the report.

    Raises AlreadyRunning, InvalidGates for a model without gates, ChangedFile, and RegistryError.
    An interrupted run records nothing.
    """
    with ProcessLock(home.lock("gate"), "gate run"):
        history = open_history(home, wait=True)
        registry = Registry(home)
        candidate = registry.version(model, number)
        state = history.state(model)
        gates = _gates(state, model)
        digest = registered_digest(state, model, number)
        champion = _champion(state)
        compared = registry.version(model, champion.number) if champion else None
        for version in filter(None, (candidate, compared)):
            require_unchanged(version)
        started = now_us()
        shutil.rmtree(home.gate_run, ignore_errors=True)  # left by a killed run
        home.gate_run.mkdir(parents=True)
        try:
            job = GateJob(
                candidate=candidate,
                champion=compared,
                manifests={
                    version.number: version.manifest for version in registry.versions(model)
                },
                log=str(home.log),
                kafka=place if isinstance(place := log_place(home), KafkaSettings) else None,
                folder=str(home.gate_run),
                gates=state.policy.gates,
            )
            outcomes = _run_with_progress(job, gates, progress, command)
        finally:
            shutil.rmtree(home.gate_run, ignore_errors=True)
        required = {name: gate.blocking for name, gate in gates.items()}
        report = GateReport(
            model=model,
            number=number,
            digest=digest,
            policy=state.policy_revision,
            verdict=verdict_of(outcomes, required),
            gates=outcomes,
            champion=champion,
            started=started,
            ended=now_us(),
            actor=actor,
        )
        evidence = open_reports(home).add(report, report_page(report))
        revision = record_run(history, report, evidence, why)
    stale = history.state(model).missing_gates(digest) if report.verdict == "passed" else ""
    return RecordedRun(report, evidence, revision, stale)


def _run_with_progress(
    job: GateJob, gates: dict[str, Gate], progress: Progress, command: tuple[str, ...]
) -> list[GateOutcome]:
    outcomes: list[GateOutcome] = []
    names = iter(gates.items())
    progress.started(*next(names))
    for outcome in run_gates(job, gates, progress.progressed, command):
        progress.ended(outcome)
        outcomes.append(outcome)
        if (following := next(names, None)) is not None:
            progress.started(*following)
    return outcomes


def _gates(state: LifecycleState, model: str) -> dict[str, Gate]:
    gates = read_gates(state.policy.gates)
    if not gates:
        raise InvalidGates(
            f"model {model!r} has no gates; set them with driftline gates {model} --file gates.yaml"
        )
    return gates


def _champion(state: LifecycleState) -> Champion | None:
    number = state.aliases.get("champion", "")
    return Champion(number, state.digest_of(number)) if number else None
