"""List the policy periods of a version: which policy applied to which windows, and why."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec

from monitoring.windows.policy_periods import PolicyPeriod, timeline
from registry.catalogue import Catalogue
from registry.errors import RegistryError
from registry.manifest import Monitoring
from registry.policies import DatedPolicy, differences


class Change(msgspec.Struct, frozen=True):
    """The old and the new value of a policy field; None: the field is absent."""

    field: str
    before: Any
    after: Any


class PolicyPeriodView(msgspec.Struct, frozen=True, kw_only=True):
    """One policy period, and who changed the policy."""

    start: int  # windows that begin here or later; 0: from the beginning
    end: int | None  # exclusive; None: still current
    policy: str  # the digest, as results have it
    monitoring: Monitoring  # the policy itself
    revision: int = 0  # revision of the registry; 0: the manifest's policy
    actor: str = ""
    made: int = 0  # microseconds since the epoch
    why: str = ""
    changes: list[Change] = []  # against the previous period


def period_views(history: Sequence[DatedPolicy]) -> list[PolicyPeriodView]:
    """Return every policy period, newest first."""
    periods = timeline(history).periods
    views = [_view(None, periods[0]), *(_view(*pair) for pair in pairwise(periods))]
    return [
        msgspec.structs.replace(view, end=after.start if after else None)
        for view, after in zip(views, [*views[1:], None], strict=True)
    ][::-1]


def period_of(views: Sequence[PolicyPeriodView], start: int) -> PolicyPeriodView | None:
    """Return the period of a window that begins at `start`."""
    return next((period for period in views if period.start <= start), None)


def policies(catalogue: Catalogue | None, model: str, number: str) -> list[DatedPolicy]:
    """Return the policies of a version, oldest first; none if it is not registered here."""
    if catalogue is None:
        return []
    try:
        versions = catalogue.versions(model)
        return next(
            (catalogue.policies(version) for version in versions if version.number == number), []
        )
    except RegistryError:
        return []


def _view(before: PolicyPeriod | None, period: PolicyPeriod) -> PolicyPeriodView:
    row, changes = period.dated.row, []
    if before is not None:
        differing = differences(before.policy, period.policy)
        changes = [Change(name, *values) for name, values in differing.items()]
    return PolicyPeriodView(
        start=period.start,
        end=None,
        policy=period.digest,
        monitoring=period.policy,
        revision=row.revision if row else 0,
        actor=row.actor if row else "",
        made=row.time if row else 0,
        why=period.dated.change.why,
        changes=changes,
    )
