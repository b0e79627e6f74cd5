"""Select the columns that a result revision needs. Pure.

A revision scores only performance, for all rows and for each segment, because labels do not change
other scores. For this, a classification needs predictions, probabilities and the segments' columns.
A regression needs every feature, because its errors are estimated from the features.
"""

from collections.abc import Collection

from registry.features import monitored_columns
from registry.manifest import Manifest, Monitoring, SegmentPolicy


def revision_columns(
    manifest: Manifest, policy: Monitoring, columns: Collection[str]
) -> frozenset[str]:
    """Return the columns of a stored row that a revision needs under a policy."""
    if manifest.task == "regression":
        return frozenset(columns)
    segments = {SegmentPolicy.of(declared).column for declared in policy.segments}
    inputs = {feature.name for feature in monitored_columns(manifest)}
    return frozenset(columns) - (inputs - segments)
