"""Selection of the cached versions that a machine can delete: least recently used first. Pure.

Where machines share artefacts, the model store is a cache: what it lacks is fetched again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from registry.history.state import LifecycleState
from registry.pending_approvals import pending_approvals
from registry.worker_reports import WorkerReport


class CachedVersion(NamedTuple):
    """The folder of one version."""

    model: str
    number: str
    path: Path
    size: int  # bytes of its files
    used: float  # seconds since the epoch


class CacheBound(NamedTuple):
    """The size limit of a machine's cache, and the folder of its workers' reports."""

    size: int = 0  # bytes; 0: any
    workers: Callable[[], list[WorkerReport]] = list


def evictions(
    cached: Sequence[CachedVersion], limit: int, may_go: Callable[[CachedVersion], bool]
) -> Iterator[CachedVersion]:
    """Yield versions to remove until the rest fits the limit or only required ones are left.

    `may_go` is asked for one after the other, and only while the limit is exceeded.
    """
    total = sum(version.size for version in cached)
    for version in sorted(
        cached, key=lambda version: (version.used, version.model, version.number)
    ):
        if total <= limit:
            return
        if may_go(version):
            total -= version.size
            yield version


def needed_numbers(
    model: str, state: LifecycleState, workers: Iterable[WorkerReport], now: int
) -> set[str]:
    """Return the versions that this machine serves or will serve, or that an alias names.

    Also those of rollouts, shadows and pending approvals. `workers` are those of this machine.
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
