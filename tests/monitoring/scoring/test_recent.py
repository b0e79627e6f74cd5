"""The scoring process's cache of versions and policies, and its eviction."""

import gc
from collections.abc import Callable
from weakref import ref

import pandas as pd
import pytest
from msgspec.structs import replace

from monitoring.results import Window
from monitoring.scoring.quality import score_quality
from monitoring.scoring.reference import Baseline
from monitoring.scoring.window_scorer import ScorerCache
from registry.manifest import AlarmPolicy, Monitoring, Version

STRICT = Monitoring(alarms=AlarmPolicy(smallest_drift=0.05))
LENIENT = Monitoring(alarms=AlarmPolicy(smallest_drift=0.5))


class Versions:
    """Every version is that of the baseline; counts how often a reference is read."""

    def __init__(self, baseline: Baseline) -> None:
        self._version = baseline.version
        self.loaded: list[str] = []

    def version(self, model: str, number: str) -> Version:
        return replace(self._version, model=model, number=number)

    def load(self, version: Version) -> Baseline:
        self.loaded.append(version.number)
        return Baseline(version)


@pytest.fixture
def versions(baseline: Baseline) -> Versions:
    return Versions(baseline)


@pytest.fixture
def recent(baseline: Baseline, versions: Versions) -> ScorerCache:
    """Has room for two."""
    return ScorerCache(versions, 2 * baseline.frame.size, versions.load)


def test_a_version_is_cached_per_policy_and_its_reference_is_read_once(
    recent: ScorerCache, versions: Versions
) -> None:
    strict = recent.parts("tiny", "1", STRICT)
    lenient = recent.parts("tiny", "1", LENIENT)
    assert recent.parts("tiny", "1", STRICT) is strict
    assert recent.parts("tiny", "1", LENIENT) is lenient
    assert lenient.baseline.frame is strict.baseline.frame
    assert versions.loaded == ["1"]
    floors = [parts.baseline.manifest.monitoring.alarms for parts in (strict, lenient)]
    assert floors == [STRICT.alarms, LENIENT.alarms]
    assert strict.baseline.version.manifest == strict.baseline.manifest


def test_the_least_recently_used_entry_is_evicted_first(
    recent: ScorerCache, versions: Versions
) -> None:
    first = recent.parts("tiny", "1", None)
    recent.parts("tiny", "2", None)
    assert recent.parts("tiny", "1", None) is first
    recent.parts("tiny", "3", None)
    assert recent.parts("tiny", "1", None) is first
    recent.parts("tiny", "2", None)
    assert versions.loaded == ["1", "2", "3", "2"]


def test_the_last_used_entry_stays_whatever_its_size(versions: Versions) -> None:
    recent = ScorerCache(versions, 1, versions.load)
    assert recent.parts("tiny", "1", None) is recent.parts("tiny", "1", None)


def test_entries_of_a_deleted_version_are_removed(
    recent: ScorerCache, window: Callable[[], pd.DataFrame]
) -> None:
    """Though everything that can be remembered of it was asked for."""
    parts = recent.parts("tiny", "1", STRICT)
    score_quality(parts.baseline, window())
    parts.performance.score(window())
    parts.like_times.of(Window(0, 1)).thresholds.of(100)
    gone = ref(parts.baseline)
    del parts
    for number in "234":
        recent.parts("tiny", number, STRICT)
    gc.collect()
    assert gone() is None
