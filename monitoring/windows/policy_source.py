"""Sources of monitoring policies: the registry, or one fixed policy in a backtest."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from monitoring.errors import DatabaseUnavailable
from monitoring.windows.policy_periods import PolicyTimeline, timeline
from registry.baselines import RecordedBaseline
from registry.catalogue import PolicyHistory, VersionSource
from registry.errors import RegistryUnavailable
from registry.manifest import Monitoring, Version
from registry.policies import DatedPolicy

_POLL_INTERVAL_S = 1.0  # must be much shorter than policy_periods.MARGIN


class ReadableVersions:
    """Registered versions; an unreadable registry is not treated as an unknown version."""

    def __init__(self, source: VersionSource) -> None:
        self._source = source

    def version(self, model: str, number: str) -> Version:
        """Return a version; raises RegistryError, or DatabaseUnavailable if it cannot be read."""
        with _readable():
            return self._source.version(model, number)


class RegistryPolicies:
    """Policies in the registry; changes are polled at most once per second."""

    def __init__(self, history: PolicyHistory, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds since an arbitrary start."""
        self._history = history
        self._clock = clock
        with _readable():
            self._revision = history.revision()
        self._due = clock() + _POLL_INTERVAL_S

    def timeline(self, version: Version) -> PolicyTimeline:
        """Return the policy periods of a version; raises DatabaseUnavailable."""
        with _readable():
            return timeline(self._history.policies(version))

    def baselines(self, version: Version) -> list[RecordedBaseline]:
        """Return the baselines recorded for a version; raises DatabaseUnavailable."""
        with _readable():
            return self._history.baselines(version)

    def changed(self) -> set[str]:
        """Return the models whose registry entries have changed since the last query.

        The result is empty within a second of the last query. Raises DatabaseUnavailable.
        """
        if self._clock() < self._due:
            return set()
        with _readable():
            revision = self._history.revision()
            models = self._history.changed(self._revision) if revision != self._revision else set()
        self._revision, self._due = revision, self._clock() + _POLL_INTERVAL_S
        return models


class FixedPolicy:
    """One policy for every version at every event time."""

    def __init__(self, policy: Monitoring) -> None:
        """Use `policy` in place of the registered policies."""
        self._policy = policy

    def timeline(self, _version: Version) -> PolicyTimeline:
        """Return a timeline with one period."""
        return timeline([DatedPolicy(self._policy, 0)])


@contextmanager
def _readable() -> Iterator[None]:
    """Raise DatabaseUnavailable if the registry is unreadable, so that the monitor pauses.

    If the monitor continued with old policies, a replay with all policies would give different
    results.
    """
    try:
        yield
    except RegistryUnavailable as error:
        raise DatabaseUnavailable(str(error)) from error
