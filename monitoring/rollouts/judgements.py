"""File with the latest judgement of each running rollout, in the monitor's home.

`driftline rollout status`, another process, reads the file.
"""

import time
from collections.abc import Callable

import msgspec

from eventlog.durable_files import replace_file
from eventlog.settings import Home
from monitoring.presenter.rollout_waits import CurrentJudgement

_PAUSE_S = 1.0  # seconds between writes


class JudgementFile:
    """The latest judgements, keyed by rollout id; one thread replaces them, any thread can read."""

    def __init__(self, home: Home, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = home.rollouts
        self._clock = clock
        self._judgements: dict[str, CurrentJudgement] = {}
        self._written = float("-inf")

    def replace(self, judgements: dict[str, CurrentJudgement]) -> None:
        """Replace all judgements.

        The file is written at most once a second, but immediately if a rollout starts or ends.
        """
        has_other_rollouts = judgements.keys() != self._judgements.keys()
        self._judgements = judgements
        if has_other_rollouts or (judgements and self._clock() - self._written >= _PAUSE_S):
            self._written = self._clock()
            try:
                replace_file(self._path, msgspec.json.encode(judgements))
            except OSError:  # judging continues even if the disk is full
                self._written = float("-inf")

    def read(self) -> dict[str, CurrentJudgement]:
        """Return the latest judgements."""
        return self._judgements


def read_judgements(home: Home) -> dict[str, CurrentJudgement]:
    """Return the latest judgements of this home's monitor; empty if no monitor has run here."""
    try:
        return msgspec.json.decode(home.rollouts.read_bytes(), type=dict[str, CurrentJudgement])
    except (OSError, msgspec.DecodeError):
        return {}
