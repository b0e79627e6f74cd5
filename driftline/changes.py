"""Changes of the registry that a command asks for, on this machine or on a registry server.

Each is a struct of what is asked, with the scope that it requires. `RegistryChange.apply` makes it
in the history of this machine's registry; `driftline/remote/` carries it to another machine.
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


class Ask(RegistryChange, frozen=True):
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
        return _decided(history, revision, model, self.number, self.alias, actor)


class Approve(RegistryChange, frozen=True):
    """Approve a version for an alias."""

    name = "approve"
    scope = "approve"
    number: str
    alias: str = "champion"
    digest: str = ""  # first digits of the content and the gate report that the approver has read
    report: str = ""

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
        done = _decided(history, revision, model, self.number, self.alias, actor)
        rollout = history.state(model).rollouts.get(self.alias)
        if rollout is None or not rollout.active or rollout.number != self.number:
            return replace(done, note=note)
        return replace(done, rollout=rollout)


class Reject(RegistryChange, frozen=True):
    """Reject the content of a version, for good."""

    name = "reject"
    scope = "approve"
    number: str

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        book = Approvals(_history(home))
        revision = book.reject(model, self.number, actor=actor.name, why=self.why)
        return ChangeResult(revision, actor.name, self.number)


class SetReleasePolicy(RegistryChange, frozen=True):
    """Replace the fields of the release policy that are stated."""

    name = "release-policy"
    scope = "admin"
    policy: dict[str, Any]
    expected_revision: int | None = None  # expected revision of the model

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        history = _history(home)
        policy = read_release_policy("release policy", self.policy)
        has_versions = bool(history.numbers(model))
        if policy.gates and has_versions:
            from registry.gates.fit import check_fit  # noqa: PLC0415 - NumPy, for changes only

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
    """Point an alias back at a version that it named before, and bar the present content."""

    name = "rollback"
    scope = "promote"
    alias: str = "champion"
    number: str = ""  # empty: the version before
    bar: bool = True
    # Of the model; a repeated call with it rolls back once.
    expected_revision: int | None = None

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        history = _history(home)
        state = history.state(model)
        expected = state.revision if self.expected_revision is None else self.expected_revision
        target = self.number or earlier_version(state, model, self.alias)
        Registry(home).version(model, target)  # it can be read
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
    """Let aliases name the content of a version again."""

    name = "unbar"
    scope = "promote"
    number: str

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        revision = unbar(_history(home), model, self.number, actor=actor.name, why=self.why)
        return ChangeResult(revision, actor.name, self.number)


class StartRollout(RegistryChange, frozen=True):
    """Let a version answer the first share of the requests for an alias."""

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
    metrics: list[VerdictMetric] = []  # metrics that are judged; empty: all that occur
    patience: float = 6.0  # bake times
    expire: float = 6.0

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
    """Advance, hold or end the rollout under way."""

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
    """Request retraining at fixed times, in place of an earlier schedule."""

    name = "schedule"
    scope = "operate"
    cron: str  # five fields
    timezone: str = "UTC"
    catch_up: CatchUp = "latest"

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        revision = Schedules(_history(home)).set(
            model, self.cron, self.timezone, self.catch_up, actor=actor.name, why=self.why
        )
        return ChangeResult(revision, actor.name)


class RemoveSchedule(RegistryChange, frozen=True):
    """End the schedule of a model."""

    name = "schedule/remove"
    scope = "operate"

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        revision = Schedules(_history(home)).remove(model, actor=actor.name, why=self.why)
        return ChangeResult(revision, actor.name)


class Describe(RegistryChange, frozen=True):
    """State the owner of a model, add tags and remove others."""

    name = "description"
    scope = "operate"
    owner: str | None = None  # None: unchanged; "": no owner
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
        Ask,
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
    """Raise InvalidName, or SettingError for a change without the reason that it requires."""
    require_model_name(model)
    if change.name in _REASONED and not change.why.strip():
        raise SettingError(f"{change.name}: expected why, the reason that is recorded with it")
    if len(change.why) > _LONGEST_REASON:
        raise SettingError(f"why: {len(change.why)} characters; expected at most {_LONGEST_REASON}")
    if any(isinstance(value, str) and "\0" in value for value in msgspec.structs.astuple(change)):
        raise SettingError(f"{change.name}: a value has a NUL; expected none")


def _history(home: Home) -> History:
    return open_history(home, wait=True)


def _decided(  # noqa: PLR0913, PLR0917  # what a decision is about
    history: History, revision: int, model: str, number: str, alias: str, actor: Actor
) -> ChangeResult:
    state = history.state(model)
    report = state.subject(alias, state.digest_of(number)).report
    return ChangeResult(revision, actor.name, number, report=report)
