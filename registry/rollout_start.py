"""Start rollouts that a person or a release policy requests."""

from math import inf
from typing import NamedTuple

from registry.catalogue import VersionSource
from registry.conflicts import retry_conflicts
from registry.errors import RegistryError, VersionRefused
from registry.history.rows import RolloutPlan
from registry.history.store import History
from registry.rollouts import Rollouts, require_same_requests


class RolloutSubject(NamedTuple):
    """The version to roll out, and the alias for it."""

    model: str
    number: str
    alias: str


def start_rollout(  # noqa: PLR0913  # one argument per field of a row
    history: History,
    versions: VersionSource,
    subject: RolloutSubject,
    plan: RolloutPlan,
    *,
    actor: str,
    why: str,
    evidence: str = "",
) -> int:
    """Start a rollout with the first share of an alias's requests; return the new revision.

    Raises VersionRefused if the plan is invalid, or if the versions accept different requests.
    """
    model, number, alias = subject
    require_plan(plan)
    manifest = versions.version(model, number).manifest
    names = [feature.name for feature in manifest.features]
    if plan.key_feature and plan.key_feature not in names:
        raise VersionRefused(
            f"no feature {plan.key_feature!r}; features: {', '.join(names) or 'none'}"
        )

    def begin() -> int:
        state = history.state(model)
        if (before := state.aliases.get(alias)) is not None:
            require_same_requests(model, versions.version(model, before).manifest, manifest)
        return Rollouts(history).start(
            model,
            number,
            alias,
            plan.steps,
            bake_s=plan.bake_s,
            actor=actor,
            why=why,
            feature=plan.key_feature,
            policy=plan.verdict if plan.judge else None,
            evidence=evidence,
            expected_revision=state.revision,
        )

    return retry_conflicts(begin)


def require_plan(plan: RolloutPlan) -> None:
    """Raise VersionRefused for steps that do not increase, or an invalid verdict policy."""
    steps, policy = plan.steps, plan.verdict
    if not steps or steps[0] <= 0 or steps[-1] > 1 or steps != sorted(set(steps)):
        raise VersionRefused(f"steps {steps}: expected increasing shares in ]0, 1]")
    if not 0 < plan.bake_s < inf:
        raise VersionRefused(f"bake_s {plan.bake_s:g}: expected seconds above 0")
    for name, value, least in (
        ("tolerate", policy.tolerate, 1),
        ("latency_ms", policy.latency_ms, 0),
        ("patience", policy.patience, 1),
        ("expire", policy.expire, 0),
    ):
        if not least <= value < inf:
            raise VersionRefused(f"{name} {value:g}: expected at least {least}")
    for name, value in (
        ("false_rollback", policy.false_rollback),
        ("false_promotion", policy.false_promotion),
        ("floor", policy.floor),
    ):
        if not 0 < value < 1:
            raise VersionRefused(f"{name} {value:g}: expected a number between 0 and 1")


def start_approved(
    history: History, versions: VersionSource, subject: RolloutSubject, actor: str
) -> str:
    """Start the rollout of an approved version if the release policy has `on_approve: rollout`.

    `actor` is the last approver. Do nothing if approvals are missing or the rollout is already
    active. Return the reason if the rollout could not start, else "".
    """
    model, number, alias = subject
    state = history.state(model)
    if state.policy.on_approve != "rollout" or alias not in state.policy.approvals:
        return ""
    rollout = state.rollouts.get(alias)
    if rollout is not None and rollout.active and rollout.number == number:
        return ""
    approved = state.approved.get((alias, state.digest_of(number)))
    if not approved or state.refusal(alias, number, approved[-1].time):
        return ""
    revision = approved[-1].revision
    try:
        start_rollout(
            history,
            versions,
            subject,
            state.policy.rollout,
            actor=actor,
            why=f"approved in revision {revision}: {approved[-1].why}",
            evidence=f"revision {revision}",
        )
    except RegistryError as error:
        return f"the rollout that the release policy requires did not start: {error}"
    return ""
