"""Select the cached versions that a machine can delete, least recently used first. Pure.

If machines share artefacts, the model store is a cache: missing versions are fetched again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from registry.history.lifecycle import LifecycleState
from registry.pending_approvals import pending_approvals
from registry.worker_reports import WorkerReport


class CachedVersion(NamedTuple):
    """A version in the cache."""

    model: str
    number: str
    path: Path
    size: int  # total size of the files in bytes
    used: float  # time of the last use, in seconds since the epoch


class CacheBound(NamedTuple):
    """The size limit of a machine's cache, and the reports of the machine's workers."""

    size: int = 0  # bytes; 0 for no limit
    workers: Callable[[], list[WorkerReport]] = list


def evictions(
    cached: Sequence[CachedVersion], limit: int, can_delete: Callable[[CachedVersion], bool]
) -> Iterator[CachedVersion]:
    """Yield versions to delete until the rest fits the limit or nothing can be deleted.

    `can_delete` is called for one version after the other, and only while the limit is exceeded.
    """
    total = sum(version.size for version in cached)
    for version in sorted(
        cached, key=lambda version: (version.used, version.model, version.number)
    ):
        if total <= limit:
            return
        if can_delete(version):
            total -= version.size
            yield version


def needed_numbers(
    model: str, state: LifecycleState, workers: Iterable[WorkerReport], now: int
) -> set[str]:
    """Return the versions that this machine needs.

    It needs versions that it serves or will serve, and versions of aliases, rollouts, shadows and
    pending approvals. `workers` are the reports of this machine's workers.
    """
    numbers = set(state.aliases.values())
    for rollout in state.rollouts.values():
        if rollout.active:
            numbers |= {rollout.number, rollout.before}
    numbers |= {shadow.number for shadow in state.shadows.values()}
    numbers |= {pending.number for pending in pending_approvals(state, model, now)}
    for worker in workers:
        numbers |= set(worker.serving.get(model, {}).values())
        if worker.selects(model):
            numbers |= state.registered.keys() - state.desired(state.registered).unloaded
    return numbers
