"""Approval requests that still need approvals."""

import threading
from collections.abc import Callable, Iterator

import msgspec

from registry.errors import DamagedRow
from registry.history.lifecycle import LifecycleState
from registry.history.rows import ApprovalSubject, GateResult, HistoryRow
from registry.history.store import History
from telemetry.clock import DAY


class PendingApproval(msgspec.Struct, frozen=True):
    """One request that still needs approvals; times are microseconds since the epoch."""

    model: str
    number: str
    alias: str
    digest: str
    requested_by: str
    why: str
    requested: int  # time of the request
    expires: int
    required: int  # number of required approvals
    roles: list[str]  # an approver needs one of these roles; empty for any other person
    approved_by: list[str]
    replaces: str  # version to which the alias points, or ""
    report: str  # digest of the gate report, or ""
    verdict: str  # verdict of the gate report, or ""


def pending_approvals(state: LifecycleState, model: str, now: int) -> Iterator[PendingApproval]:
    """Yield a model's requests that still need approvals, oldest first. Pure."""
    for (alias, digest), request in sorted(
        state.requested.items(), key=lambda item: item[1].revision
    ):
        pending = _pending(state, model, alias, digest, request, now)
        if pending is not None:
            yield pending


def _pending(  # noqa: PLR0913, PLR0917  # the subject of a request
    state: LifecycleState, model: str, alias: str, digest: str, request: HistoryRow, now: int
) -> PendingApproval | None:
    rule = state.policy.approvals.get(alias)
    if rule is None or digest in state.rejected.keys() | state.barred.keys():
        return None
    subject = state.subject(alias, digest)
    try:
        fresh = request.decode(ApprovalSubject) == subject
        gated = state.gated.get(digest)
        verdict = gated.decode(GateResult).verdict if gated is not None else ""
    except DamagedRow:
        return None
    approved = state.approvals(alias, request.number, now)
    answered = len(approved) >= rule.required or state.aliases.get(alias) == request.number
    if not fresh or answered or request.time < state.oldest_decision(alias, now):
        return None
    return PendingApproval(
        model,
        request.number,
        alias,
        digest,
        request.actor,
        request.why,
        request.time,
        int(request.time + rule.expire_days * DAY),
        rule.required,
        rule.roles,
        [row.actor for row in approved],
        subject.replaces,
        subject.report,
        verdict,
    )


class PendingApprovals:
    """The pending requests of all models, cached between changes; safe across threads."""

    def __init__(self, history: History, clock: Callable[[], int] | None = None) -> None:
        """Store the arguments; `read` reads the history."""
        self._history = history
        self._clock = clock or history.time_ns
        self._lock = threading.Lock()
        self._revision = 0
        self._states: dict[str, LifecycleState] = {}  # states of models with requests

    def read(self) -> list[PendingApproval]:
        """Return the pending requests, oldest first; raises RegistryUnavailable."""
        with self._lock:
            revision = self._history.revision()
            if revision != self._revision:
                models = self._history.models("requested")
                changed = self._history.changed(self._revision) if self._revision else models
                for model in models & (changed | (models - self._states.keys())):
                    self._states[model] = self._history.state(model)
                self._revision = revision
            now = self._clock() // 1_000
            pending = [
                approval
                for model, state in self._states.items()
                for approval in pending_approvals(state, model, now)
            ]
        return sorted(pending, key=lambda approval: approval.requested)
