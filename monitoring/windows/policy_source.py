"""Policies of watching: each version's own as the registry has them, or one in their place."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from monitoring.errors import DatabaseUnavailable
from monitoring.windows.policy_periods import PolicyTimeline, timeline
from registry.manifest import Monitoring, Version
from registry.policies import Held

_EVERY = 1.0  # seconds; far less than the margin of core/eras.py


class Catalogue(Protocol):
    """Where versions are found."""

    def version(self, model: str, number: str) -> Version:
        """The version; raises RegistryError."""
        ...


class History(Protocol):
    """Where policies are found, with everything that they were before; the registry is one."""

    def policies(self, version: Version) -> list[Held]:
        """Every policy that a version is or was watched by, oldest first."""
        ...

    def revision(self) -> int:
        """A number that grows with every change; cheap to ask for."""
        ...

    def changed(self, since: int) -> set[str]:
        """The models of which anything changed after this revision."""
        ...


class RegistryPolicies:
    """Looks for changes of policies, at most once a second: that costs a look at a small file."""

    def __init__(self, history: History, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds, from anywhere."""
        self._history = history
        self._clock = clock
        with _readable():
            self._revision = history.revision()
        self._due = clock() + _EVERY

    def timeline(self, version: Version) -> PolicyTimeline:
        """The eras of a version as they are known now; raises DatabaseUnavailable."""
        with _readable():
            return timeline(self._history.policies(version))

    def changed(self) -> set[str]:
        """The models of which something changed since this was asked last.

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
    """Has every version watched by one policy from the beginning."""

    def __init__(self, policy: Monitoring) -> None:
        """`policy` takes the place of what each version is or was watched by."""
        self._policy = policy

    def timeline(self, _version: Version) -> PolicyTimeline:
        """One era."""
        return timeline([Held(self._policy, 0)])


@contextmanager
def _readable() -> Iterator[None]:
    """Who went on without knowing what the registry says would decide what a replay does not."""
    try:
        yield
    except sqlite3.Error as error:
        raise DatabaseUnavailable(f"the registry cannot be read: {error}") from error
