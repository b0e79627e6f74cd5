"""What the scoring process keeps of the versions that it has seen, and what it lets go of.

A version's reference, and all that was drawn from it, serves every window to come; made anew it
costs seconds. It is kept for each policy by which windows are watched: after a change those of the
old one are still revised, as labels come. What was not used for longest goes first.
"""

from collections.abc import Callable

from msgspec.structs import replace

from monitoring.scoring.drift.thresholds import Thresholds
from monitoring.scoring.parity.scores import Again
from monitoring.scoring.performance.scores import Performance
from monitoring.scoring.reference import Baseline
from monitoring.scoring.segments.scores import Segments
from monitoring.settings import MonitorSettings
from monitoring.windows.policy_source import VersionSource
from registry.manifest import Monitoring, Version
from registry.policies import digest


class Parts:
    """What scores the windows of one version by one policy."""

    def __init__(self, baseline: Baseline) -> None:
        """Nothing is drawn before the first window."""
        self.baseline = baseline
        self.thresholds = Thresholds(baseline)
        self.performance = Performance(baseline)
        self.segments = Segments(baseline, self.performance)
        self.again = Again(baseline)


class Recent:
    """The parts of versions and policies, the least recently used first."""

    def __init__(
        self,
        catalogue: VersionSource,
        room: int = MonitorSettings().reference_values,
        load: Callable[[Version], Baseline] = Baseline,
    ) -> None:
        """`room` for so many values, rows times columns; what was used last stays in any case."""
        self._catalogue = catalogue
        self._room = room
        self._load = load
        self._kept: dict[tuple[str, str, str], Parts] = {}

    def parts(self, model: str, number: str, policy: Monitoring | None) -> Parts:
        """What scores by a policy; None: the manifest's. Raises RegistryError."""
        key = model, number, "" if policy is None else digest(policy)
        parts = self._kept.pop(key, None) or Parts(self._baseline(model, number, policy))
        self._kept[key] = parts
        self._make_room()
        return parts

    def _baseline(self, model: str, number: str, policy: Monitoring | None) -> Baseline:
        for key, kept in self._kept.items():
            if policy is not None and key[:2] == (model, number):
                return kept.baseline.under(policy)
        version = self._catalogue.version(model, number)
        if policy is not None:
            version = replace(version, manifest=replace(version.manifest, monitoring=policy))
        return self._load(version)

    def _make_room(self) -> None:
        taken = sum(parts.baseline.frame.size for parts in self._kept.values())
        for key, parts in list(self._kept.items())[:-1]:
            if taken <= self._room:
                return
            taken -= parts.baseline.frame.size
            del self._kept[key]
