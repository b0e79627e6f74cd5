"""Changes by operators: limits, monitoring policy, loading, baseline, provided aliases.

They are applied like the changes of `driftline/changes.py`.
"""

from typing import Any

from driftline.local_actor import Actor
from driftline.registry_change import ChangeResult, RegistryChange
from eventlog.settings import Home
from registry.limits import LimitChange
from registry.policies import PolicyChange
from registry.store import Registry


class SetLimits(RegistryChange, frozen=True):
    """Change limits of a version, or of every version of a model."""

    name = "limits"
    scope = "operate"
    limits: LimitChange  # a change without fields revokes all earlier changes
    number: str = ""  # number or alias, "" for every version

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        registry = Registry(home, wait=True)
        number = _number(registry, model, self.number)
        revision = registry.limit(model, number, self.limits, actor=actor.name)
        return ChangeResult(revision, actor.name, number)


class SetMonitoringPolicy(RegistryChange, frozen=True):
    """Change fields of the monitoring policy of a version, or of every version of a model."""

    name = "policy"
    scope = "operate"
    policy: dict[str, Any] | None  # None revokes all earlier changes
    number: str = ""  # number or alias, "" for every version

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        registry = Registry(home, wait=True)
        number = _number(registry, model, self.number)
        change = PolicyChange(self.policy, self.why.strip())
        revision = registry.change_policy(model, number, change, actor=actor.name)
        return ChangeResult(revision, actor.name, number)


class Load(RegistryChange, frozen=True):
    """Load a version, or every version of a model, in every worker."""

    name = "load"
    scope = "operate"
    number: str = ""  # number or alias, "" for every version

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        registry = Registry(home, wait=True)
        number = _number(registry, model, self.number)
        return ChangeResult(registry.load(model, number, actor=actor.name), actor.name, number)


class Unload(RegistryChange, frozen=True):
    """Unload a version, or every version of a model, in every worker."""

    name = "unload"
    scope = "operate"
    number: str = ""  # number or alias, "" for every version

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        registry = Registry(home, wait=True)
        number = _number(registry, model, self.number)
        return ChangeResult(registry.unload(model, number, actor=actor.name), actor.name, number)


class ChooseBaseline(RegistryChange, frozen=True):
    """Choose sampled rows of a period as the baseline for later windows of a version."""

    name = "baseline"
    scope = "operate"
    start: int  # start of the period in event time, in microseconds since the epoch
    end: int  # exclusive
    number: str = ""  # number or alias, "" for the champion or else the newest version

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        from driftline.chosen_baseline import choose  # noqa: PLC0415 - imports SQLAlchemy

        registry = Registry(home, wait=True)
        number = self.number or registry.aliases(model).get("champion", "")
        number = _number(registry, model, number) or registry.versions(model)[-1].number
        version = registry.version(model, number)
        revision, rows = choose(
            home, registry, version, (self.start, self.end), why=self.why.strip(), actor=actor.name
        )
        return ChangeResult(revision, actor.name, number, rows=rows)


class ProvideAlias(RegistryChange, frozen=True):
    """Point an alias at a version, unless a person or a rollout set it last."""

    name = "provide"
    scope = "promote"
    number: str
    alias: str = "champion"

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        registry = Registry(home, wait=True)
        before = registry.revision()
        row = registry.provide_alias(model, self.alias, self.number, actor=actor.name)
        changed = row.revision > before
        return ChangeResult(row.revision, row.actor, row.number, changed=changed)


def _number(registry: Registry, model: str, number_or_alias: str) -> str:
    """Resolve an alias to its version number; return other texts unchanged."""
    return registry.aliases(model).get(number_or_alias, number_or_alias) if number_or_alias else ""
