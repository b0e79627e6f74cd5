"""Names of the columns that the monitor adds to a model's features.

If a feature is named `prediction`, the monitor's column is named `@prediction`. If another feature
has that name too, the column is named `@@prediction`. Features therefore always keep their names.
The names are constant for a version, because its features never change.
"""

from collections.abc import Collection

from registry.manifest import Manifest

PREDICTION = "prediction"
LABEL = "label"
SCORE = "probability"  # probability of the positive class, among the columns checked for drift
TIME = "event_time"  # time of a reference row, in microseconds since the epoch
WITHHELD = "payload_withheld"  # whether the log has only the summaries of a row
_PROBABILITY = "probability_"  # followed by a class
_MARK = "@"


def own_name(name: str, names: Collection[str]) -> str:
    """Return the first of `name`, `@name`, `@@name` … that is not in `names`."""
    while name in names:
        name = _MARK + name
    return name


class OwnColumns:
    """The names of the monitor's own columns for one version."""

    def __init__(self, manifest: Manifest) -> None:
        """Choose names that differ from the manifest's features, summaries and target."""
        summaries = (summary.name for summary in manifest.summaries or [])
        features = {*(feature.name for feature in manifest.features), *summaries}
        self._names = {*features, manifest.target}
        self.prediction = own_name(PREDICTION, self._names)
        self.score = own_name(SCORE, self._names)
        # Stored rows have no column with the target's name, so labels can have that name.
        self.label = own_name(LABEL, features)
        self.withheld = own_name(WITHHELD, features)
        self.time = own_name(TIME, self._names)

    def probability(self, of: object) -> str:
        """Return the name of the column with a class's probability."""
        return own_name(f"{_PROBABILITY}{of}", self._names)
