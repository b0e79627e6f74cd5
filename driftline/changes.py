"""Changes of the registry that commands request, on this machine or on a registry server.

Each change is a struct with its parameters and the scope that it requires. `RegistryChange.apply`
applies it to this machine's registry; `driftline/remote/` sends it to another machine.
"""

from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from driftline.local_actor import Actor
from driftline.operator_changes import (
    ChooseBaseline,
    Load,
    ProvideAlias,
    SetLimits,
    SetMonitoringPolicy,
    Unload,
)
from driftline.registry_change import ChangeResult, RegistryChange
from eventlog.errors import SettingError
from eventlog.settings import Home
from registry.approvals import Approvals, ReadSubject
from registry.descriptions import Descriptions
from registry.gates.policy import read_release_policy
from registry.gates.stated_gates import read_gates
from registry.history.rows import CatchUp, RolloutPlan, VerdictMetric, VerdictPolicy
from registry.history.store import History
from registry.names import require_model_name
from registry.rollback import earlier_version, roll_back, unbar
from registry.rollout_start import RolloutSubject, start_approved, start_rollout
from registry.rollouts import Rollouts, active
from registry.schedules import Schedules
from registry.settings import open_history
from registry.store import Registry

_LONGEST_REASON = 4_000  # characters


class RequestApproval(RegistryChange, frozen=True):
    """Ask for approval of a version for an alias."""

    name = "request"
    scope = "register"
    number: str
    alias: str = "champion"

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        history = _history(home)
        revision = Approvals(history).request(
            model, self.number, self.alias, actor=actor.name, why=self.why
        )
        return _decision_result(history, revision, model, self.number, self.alias, actor)


class Approve(RegistryChange, frozen=True):
    """Approve a version for an alias."""

    name = "approve"
    scope = "approve"
    number: str
    alias: str = "champion"
    digest: str = ""  # first digits of the content that the approver has checked
    report: str = ""  # first digits of the gate report that the approver has read

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        history = _history(home)
        revision = Approvals(history).approve(
            model,
            self.number,
            self.alias,
            actor=actor.name,
            why=self.why,
            roles=actor.roles,
            read=ReadSubject(self.digest, self.report),
        )
        registry = Registry(home)
        note = start_approved(
            history, registry, RolloutSubject(model, self.number, self.alias), actor.name
        )
        done = _decision_result(history, revision, model, self.number, self.alias, actor)
        rollout = history.state(model).rollouts.get(self.alias)
        if rollout is None or not rollout.active or rollout.number != self.number:
            return replace(done, note=note)
        return replace(done, rollout=rollout)


class Reject(RegistryChange, frozen=True):
    """Reject the content of a version; this is final."""

    name = "reject"
    scope = "approve"
    number: str

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        approvals = Approvals(_history(home))
        revision = approvals.reject(model, self.number, actor=actor.name, why=self.why)
        return ChangeResult(revision, actor.name, self.number)


class SetReleasePolicy(RegistryChange, frozen=True):
    """Replace the stated fields of the release policy."""

    name = "release-policy"
    scope = "admin"
    policy: dict[str, Any]
    expected_revision: int | None = None  # revision of the model at which the change is valid

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        history = _history(home)
        policy = read_release_policy("release policy", self.policy)
        has_versions = bool(history.numbers(model))
        if policy.gates and has_versions:
            from registry.gates.fit import check_fit  # noqa: PLC0415 - NumPy is slow to import

            check_fit(read_gates(policy.gates), Registry(home).versions(model)[-1].manifest)
        revision = Approvals(history).set_policy(
            model,
            policy,
            actor=actor.name,
            why=self.why,
            fields=self.policy,
            expected_revision=self.expected_revision,
        )
        return ChangeResult(revision, actor.name, known=has_versions)


class Promote(RegistryChange, frozen=True):
    """Point an alias at a version."""

    name = "promote"
    scope = "promote"
    number: str
    alias: str = "champion"
    expected_revision: int | None = None

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        revision = Registry(home, wait=True).promote(
            model,
            self.number,
            alias=self.alias,
            actor=actor.name,
            why=self.why,
            expected_revision=self.expected_revision,
        )
        return ChangeResult(revision, actor.name, self.number)


class RollBack(RegistryChange, frozen=True):
    """Point an alias at a version that it named earlier, and bar the current content."""

    name = "rollback"
    scope = "promote"
    alias: str = "champion"
    number: str = ""  # "" for the version that the alias named before
    bar: bool = True
    # Revision of the model at which the change is valid, so that a repeated call rolls back once.
    expected_revision: int | None = None

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        history = _history(home)
        state = history.state(model)
        expected = state.revision if self.expected_revision is None else self.expected_revision
        target = self.number or earlier_version(state, model, self.alias)
        Registry(home).version(model, target)  # raises an error if it cannot be read
        done = roll_back(
            history,
            model,
            self.alias,
            target,
            expected_revision=expected,
            actor=actor.name,
            why=self.why,
            bar=self.bar,
        )
        return ChangeResult(done.revision, actor.name, target, done.before, done.barred)


class Unbar(RegistryChange, frozen=True):
    """Allow aliases to name the barred content of a version again."""

    name = "unbar"
    scope = "promote"
    number: str

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        revision = unbar(_history(home), model, self.number, actor=actor.name, why=self.why)
        return ChangeResult(revision, actor.name, self.number)


class StartRollout(RegistryChange, frozen=True):
    """Start a rollout: a version answers the first share of the requests for an alias."""

    name = "rollout/start"
    scope = "promote"
    number: str
    steps: list[float]  # shares of the routing keys
    bake_s: float = 600.0
    alias: str = "champion"
    key_feature: str = ""
    judge: bool = True
    tolerate: float = 1.25
    latency_ms: float = 0.0
    metrics: list[VerdictMetric] = []  # metrics to judge; empty for all available metrics
    patience: float = 6.0  # in bake times
    expire: float = 6.0  # in bake times

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        history = _history(home)
        verdict = VerdictPolicy(
            tolerate=self.tolerate,
            latency_ms=self.latency_ms,
            patience=self.patience,
            expire=self.expire,
            metrics=self.metrics,
        )
        plan = RolloutPlan(self.steps, self.bake_s, self.key_feature, self.judge, verdict)
        revision = start_rollout(
            history,
            Registry(home),
            RolloutSubject(model, self.number, self.alias),
            plan,
            actor=actor.name,
            why=self.why,
        )
        now = active(history.state(model), model, self.alias)
        return ChangeResult(revision, actor.name, self.number, rollout=now)


class ChangeRollout(RegistryChange, frozen=True):
    """Advance, pause, resume or end an active rollout."""

    name = "rollout/change"
    scope = "promote"
    action: Literal["advance", "pause", "resume", "promote", "abort"]
    alias: str = "champion"
    bar: bool = False  # with `abort`: whether to bar the content of the version

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        history = _history(home)
        rollouts = Rollouts(history)
        if self.action == "abort":
            revision = rollouts.abort(
                model, self.alias, why=self.why, bar=self.bar, actor=actor.name
            )
        else:
            change = getattr(rollouts, self.action)
            revision = change(model, self.alias, why=self.why, actor=actor.name)
        now = history.state(model).rollouts[self.alias]
        return ChangeResult(revision, actor.name, now.number, rollout=now)


class SetSchedule(RegistryChange, frozen=True):
    """Request retraining at fixed times; replaces an earlier schedule."""

    name = "schedule"
    scope = "operate"
    cron: str  # cron expression of five fields
    timezone: str = "UTC"
    catch_up: CatchUp = "latest"

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        revision = Schedules(_history(home)).set(
            model, self.cron, self.timezone, self.catch_up, actor=actor.name, why=self.why
        )
        return ChangeResult(revision, actor.name)


class RemoveSchedule(RegistryChange, frozen=True):
    """Remove the schedule of a model."""

    name = "schedule/remove"
    scope = "operate"

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        revision = Schedules(_history(home)).remove(model, actor=actor.name, why=self.why)
        return ChangeResult(revision, actor.name)


class Describe(RegistryChange, frozen=True):
    """Set the owner of a model, and add and remove tags."""

    name = "description"
    scope = "operate"
    owner: str | None = None  # None to leave it unchanged, "" for no owner
    add: list[str] = []
    remove: list[str] = []

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        revision = Descriptions(_history(home)).change(
            model,
            owner=self.owner,
            add=self.add,
            remove=self.remove,
            actor=actor.name,
            why=self.why,
        )
        return ChangeResult(revision, actor.name)


CHANGES: dict[str, type[RegistryChange]] = {
    change.name: change
    for change in (
        RequestApproval,
        Approve,
        Reject,
        SetReleasePolicy,
        Promote,
        RollBack,
        Unbar,
        StartRollout,
        ChangeRollout,
        SetLimits,
        SetMonitoringPolicy,
        Load,
        Unload,
        ChooseBaseline,
        ProvideAlias,
        SetSchedule,
        RemoveSchedule,
        Describe,
    )
}
_REASONED = {"request", "approve", "reject", "release-policy", "rollback", "unbar", "policy"}


def check_change(model: str, change: RegistryChange) -> None:
    """Raise InvalidName for an invalid model name, or SettingError for invalid parameters."""
    require_model_name(model)
    if change.name in _REASONED and not change.why.strip():
        raise SettingError(f"{change.name}: expected why, the reason to record with the change")
    if len(change.why) > _LONGEST_REASON:
        raise SettingError(f"why: {len(change.why)} characters; expected at most {_LONGEST_REASON}")
    if any(isinstance(value, str) and "\0" in value for value in msgspec.structs.astuple(change)):
        raise SettingError(f"{change.name}: a value contains NUL; expected text without NUL")


def _history(home: Home) -> History:
    return open_history(home, wait=True)


def _decision_result(  # noqa: PLR0913, PLR0917  # one argument per field of a decision
    history: History, revision: int, model: str, number: str, alias: str, actor: Actor
) -> ChangeResult:
    state = history.state(model)
    report = state.subject(alias, state.digest_of(number)).report
    return ChangeResult(revision, actor.name, number, report=report)
