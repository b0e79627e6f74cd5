"""State which columns of a window's rows a revision is scored from. Pure.

A revision scores what labels change: performance, and that of groups. For it, a classification
needs predictions, probabilities and the columns of segments. A regression needs every feature,
because its errors are estimated from them.
"""

from collections.abc import Collection

from registry.features import monitored_columns
from registry.manifest import Manifest, Monitoring, SegmentPolicy


def revision_columns(
    manifest: Manifest, policy: Monitoring, columns: Collection[str]
) -> frozenset[str]:
    """Return the columns among those of a stored row that a revision under a policy needs."""
    if manifest.task == "regression":
        return frozenset(columns)
    segments = {SegmentPolicy.of(declared).column for declared in policy.segments}
    inputs = {feature.name for feature in monitored_columns(manifest)}
    return frozenset(columns) - (inputs - segments)
