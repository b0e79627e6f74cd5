"""Everything that decides what is said of the policies that a version is and was watched by."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec

from monitoring.web.queries import Catalogue
from monitoring.windows.policy_periods import PolicyPeriod, timeline
from registry.errors import RegistryError
from registry.manifest import Monitoring
from registry.policies import Held, differences


class Change(msgspec.Struct, frozen=True):
    """What one field of a policy was and became; None: there was no such field, or is none."""

    field: str
    before: Any
    after: Any


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """One era, and who made it so."""

    start: int  # windows that begin here or later; 0: from the beginning
    end: int | None  # and before; None: until further notice
    policy: str  # the digest, as results have it
    monitoring: Monitoring  # the policy itself
    revision: int = 0  # of the registry; 0: it stands in the manifest
    actor: str = ""
    made: int = 0  # microseconds since the epoch
    why: str = ""
    changes: list[Change] = []  # against the era before


def watched(held: Sequence[Held]) -> list[Watched]:
    """Every era that these policies make, the newest first."""
    eras = timeline(held).periods
    told = [_watched(None, eras[0]), *(_watched(*pair) for pair in pairwise(eras))]
    return [
        msgspec.structs.replace(one, end=after.start if after else None)
        for one, after in zip(told, [*told[1:], None], strict=True)
    ][::-1]


def era_of(all_eras: Sequence[Watched], start: int) -> Watched | None:
    """The one that a window lies in which begins then."""
    return next((era for era in all_eras if era.start <= start), None)


def policies(catalogue: Catalogue | None, model: str, number: str) -> list[Held]:
    """What a version is and was watched by; empty where it is not registered here."""
    if catalogue is None:
        return []
    try:
        versions = catalogue.versions(model)
        return next((catalogue.policies(one) for one in versions if one.number == number), [])
    except RegistryError:
        return []


def _watched(before: PolicyPeriod | None, era: PolicyPeriod) -> Watched:
    row, changes = era.held.row, []
    if before is not None:
        differing = differences(before.policy, era.policy)
        changes = [Change(name, *values) for name, values in differing.items()]
    return Watched(
        start=era.start,
        end=None,
        policy=era.digest,
        monitoring=era.policy,
        revision=row.revision if row else 0,
        actor=row.actor if row else "",
        made=row.time if row else 0,
        why=era.held.change.why,
        changes=changes,
    )
