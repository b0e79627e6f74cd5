"""Derive a version's queue limits from its manifest and the settings. Pure."""

from math import inf

from registry.manifest import Manifest, QueueLimits
from service.batching.admission import Admission
from service.batching.policy import BatchPolicy
from service.settings import Settings

# On the CPU, a large batch costs more per row than a small batch. Its inputs and intermediate
# results do not fit into the caches, and a new largest batch enlarges ONNX Runtime's arena.
_MOST_BYTES_ON_CPU = 8 << 20  # default of `max_batch_bytes`


def batch_policy_of(
    manifest: Manifest, settings: Settings, *, batched: bool, on_cpu: bool
) -> BatchPolicy:
    """Return a version's batch policy.

    `batched`: whether requests may share a run; `on_cpu`: whether runs use no accelerator.
    """
    queue = manifest.queue
    delay_us = settings.max_queue_delay_us if queue.max_delay_us is None else queue.max_delay_us
    return BatchPolicy(
        max_rows=manifest.max_batch_size if batched else 1,
        max_bytes=manifest.max_batch_bytes or (_MOST_BYTES_ON_CPU if on_cpu else inf),
        max_delay=delay_us / 1e6,
        levels=queue.priority_levels,
        default_level=queue.default_priority or queue.priority_levels,
        step=queue.priority_step_ms / 1e3,
    )


def admissions_of(name: str, queue: QueueLimits, settings: Settings) -> list[Admission]:
    """Return one admission per priority level, the highest level first; errors contain `name`."""
    admissions: list[Admission] = []
    for _ in range(queue.priority_levels):
        admissions.append(
            Admission(
                name,
                queue.max_requests or settings.max_queue_requests,
                queue.max_bytes or settings.max_queue_bytes,
                (queue.max_wait_ms or settings.max_queue_wait_ms) / 1e3,
                ahead=admissions[-1] if admissions else None,
            )
        )
    return admissions
