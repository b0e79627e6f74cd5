"""Where policies come from: each version's own in the registry, or one for all in a backtest."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from monitoring.errors import DatabaseUnavailable
from monitoring.windows.policy_periods import PolicyTimeline, timeline
from registry.baselines import RecordedBaseline
from registry.catalogue import PolicyHistory, VersionSource
from registry.errors import RegistryUnavailable
from registry.manifest import Monitoring, Version
from registry.policies import Held

_EVERY = 1.0  # seconds; far less than policy_periods.MARGIN


class ReadableVersions:
    """The versions of a registry; an unreadable registry is not an unregistered version."""

    def __init__(self, source: VersionSource) -> None:
        self._source = source

    def version(self, model: str, number: str) -> Version:
        """Return the version; raises RegistryError or, if nothing is known, DatabaseUnavailable."""
        with _readable():
            return self._source.version(model, number)


class RegistryPolicies:
    """Follows policies in the registry, with at most one query a second."""

    def __init__(self, history: PolicyHistory, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds from an arbitrary start."""
        self._history = history
        self._clock = clock
        with _readable():
            self._revision = history.revision()
        self._due = clock() + _EVERY

    def timeline(self, version: Version) -> PolicyTimeline:
        """Return the policy periods of a version; raises DatabaseUnavailable."""
        with _readable():
            return timeline(self._history.policies(version))

    def baselines(self, version: Version) -> list[RecordedBaseline]:
        """Return the baselines recorded for a version; raises DatabaseUnavailable."""
        with _readable():
            return self._history.baselines(version)

    def changed(self) -> set[str]:
        """Return the models of which something changed since the last call.

        Raises DatabaseUnavailable.
        """
        if self._clock() < self._due:
            return set()
        with _readable():
            revision = self._history.revision()
            models = self._history.changed(self._revision) if revision != self._revision else set()
        self._revision, self._due = revision, self._clock() + _EVERY
        return models


class FixedPolicy:
    """One policy for every version and all time."""

    def __init__(self, policy: Monitoring) -> None:
        """`policy` replaces the registered ones."""
        self._policy = policy

    def timeline(self, _version: Version) -> PolicyTimeline:
        """Return a timeline of one period."""
        return timeline([Held(self._policy, 0)])


@contextmanager
def _readable() -> Iterator[None]:
    """Stop where the registry is unreadable: a replay would decide by policies unknown here."""
    try:
        yield
    except RegistryUnavailable as error:
        raise DatabaseUnavailable(str(error)) from error
