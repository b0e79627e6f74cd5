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

_POLL_INTERVAL_S = 1.0  # far less than policy_periods.MARGIN


class ReadableVersions:
    """Registered versions; an unreadable registry is not mistaken for an unregistered version."""

    def __init__(self, source: VersionSource) -> None:
        self._source = source

    def version(self, model: str, number: str) -> Version:
        """Return the version; raises RegistryError, or DatabaseUnavailable if it is unreadable."""
        with _readable():
            return self._source.version(model, number)


class RegistryPolicies:
    """Policies in the registry; changes are polled at most once per second."""

    def __init__(self, history: PolicyHistory, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds from an arbitrary start."""
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
        """Return the models whose registry entries changed since the last call.

        Empty within a second of the last query. Raises DatabaseUnavailable.
        """
        if self._clock() < self._due:
            return set()
        with _readable():
            revision = self._history.revision()
            models = self._history.changed(self._revision) if revision != self._revision else set()
        self._revision, self._due = revision, self._clock() + _POLL_INTERVAL_S
        return models


class FixedPolicy:
    """One policy for every version and all time."""

    def __init__(self, policy: Monitoring) -> None:
        """`policy` replaces the registered ones."""
        self._policy = policy

    def timeline(self, _version: Version) -> PolicyTimeline:
        """Return a timeline of one period."""
        return timeline([DatedPolicy(self._policy, 0)])


@contextmanager
def _readable() -> Iterator[None]:
    """Raise DatabaseUnavailable if the registry is unreadable.

    The monitor then pauses. If it continued with old policies, a replay of the same events, which
    reads all policies, would give other results.
    """
    try:
        yield
    except RegistryUnavailable as error:
        raise DatabaseUnavailable(str(error)) from error
