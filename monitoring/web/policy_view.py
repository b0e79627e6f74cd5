"""The policy periods of a version as the page and the API show them."""

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
    """A changed policy field; a value is None if the field was absent."""

    field: str
    before: Any
    after: Any


class PolicyPeriodView(msgspec.Struct, frozen=True, kw_only=True):
    """One policy period, and the change that began it."""

    start: int  # windows from this start belong to the period; 0 for the first period
    end: int | None  # exclusive end; None if the period is current
    policy: str  # digest of the policy, as in results
    monitoring: Monitoring  # the policy
    revision: int = 0  # registry revision of the change; 0 for the manifest's policy
    actor: str = ""
    made: int = 0  # time of the change, in microseconds since the epoch
    why: str = ""
    changes: list[Change] = []  # differences from the previous period's policy


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
    """Return the policies of a version, oldest first; empty if not registered here."""
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
