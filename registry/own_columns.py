"""Name the columns that the monitor adds to a model's features, whatever these are called.

A column of the monitor gives way: `prediction` is called `@prediction` if a feature has that name,
`@@prediction` if one has that name, too. A feature therefore always keeps its name, and no feature
can have the name of a column of the monitor. Names of a version never change, because its features
do not.
"""

from collections.abc import Collection

from registry.manifest import Manifest

PREDICTION = "prediction"
LABEL = "label"
SCORE = "probability"  # the positive class's probability among the columns that drift
TIME = "event_time"  # time of a reference row, in microseconds since the epoch
WITHHELD = "payload_withheld"  # whether only the summaries of a row are known
_PROBABILITY = "probability_"  # and a class
_MARK = "@"


def own_name(name: str, names: Collection[str]) -> str:
    """Return the first of `name`, `@name`, `@@name` … that is not taken."""
    while name in names:
        name = _MARK + name
    return name


class OwnColumns:
    """The names of the monitor's own columns for one version."""

    def __init__(self, manifest: Manifest) -> None:
        """The manifest names the features, the summaries and the target."""
        summaries = (summary.name for summary in manifest.summaries or [])
        features = {*(feature.name for feature in manifest.features), *summaries}
        self._names = {*features, manifest.target}
        self.prediction = own_name(PREDICTION, self._names)
        self.score = own_name(SCORE, self._names)
        # Stored rows have no column of the target's name: labels stand in this one.
        self.label = own_name(LABEL, features)
        self.withheld = own_name(WITHHELD, features)
        self.time = own_name(TIME, self._names)

    def probability(self, of: object) -> str:
        """Return the name of a class's probability."""
        return own_name(f"{_PROBABILITY}{of}", self._names)
