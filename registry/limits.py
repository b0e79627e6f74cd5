"""Change the limits of a version without a new registration.

This module defines which limits can change, and merges changes. The version itself is immutable;
the changes are rows of the registry's history.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import asdict, replace

from registry.errors import InvalidLimits
from registry.manifest import CachePolicy, Manifest

_AtLeastOne = Annotated[int, Meta(ge=1)] | None
_QUEUE = (
    "max_delay_us", "max_requests", "max_bytes", "max_wait_ms",
    "priority_levels", "default_priority", "priority_step_ms",
)  # fmt: skip


class LimitChange(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """New values of limits; None leaves a limit unchanged.

    The fields correspond to the manifest's `queue`, `max_batch_size`, `max_batch_bytes` and
    `cache.max_bytes`.
    """

    max_batch_size: _AtLeastOne = None
    max_batch_bytes: _AtLeastOne = None
    max_delay_us: Annotated[int, Meta(ge=0)] | None = None
    max_requests: _AtLeastOne = None
    max_bytes: _AtLeastOne = None
    max_wait_ms: _AtLeastOne = None
    priority_levels: Annotated[int, Meta(ge=1, le=16)] | None = None
    default_priority: _AtLeastOne = None
    priority_step_ms: _AtLeastOne = None
    cache_max_bytes: Annotated[int, Meta(ge=0)] | None = None

    def changes(self) -> dict[str, int]:
        """Return the changed limits by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


UNCHANGED = LimitChange()


def sum_up(changes: Iterable[LimitChange]) -> LimitChange:
    """Merge changes, oldest first; a change without fields revokes all earlier changes."""
    total: dict[str, int] = {}
    for change in changes:
        limits = change.changes()
        total = total | limits if limits else {}
    return LimitChange(**total)


def limited(manifest: Manifest, change: LimitChange) -> Manifest:
    """Return the manifest with the changed limits; raises InvalidLimits."""
    limits = change.changes()
    queue = {name: limits[name] for name in _QUEUE if name in limits}
    try:
        return replace(
            manifest,
            max_batch_size=limits.get("max_batch_size", manifest.max_batch_size),
            max_batch_bytes=limits.get("max_batch_bytes", manifest.max_batch_bytes),
            queue=replace(manifest.queue, **queue),
            cache=CachePolicy(limits.get("cache_max_bytes", manifest.cache.max_bytes)),
        )
    except ValueError as error:  # raised by QueueLimits
        raise InvalidLimits(str(error)) from None


def check(change: LimitChange) -> None:
    """Raise InvalidLimits if a value is out of its range."""
    try:
        msgspec.convert(change.changes(), LimitChange)
    except msgspec.ValidationError as error:
        raise InvalidLimits(str(error)) from None
