"""The counts of each running rollout: a file of the monitor's home, replaced as it judges.

The page reads it, and `driftline rollout status`, which is another process.
"""

import time
from collections.abc import Callable

import msgspec

from eventlog.durable_files import replace_file
from eventlog.settings import Home
from monitoring.presenter.rollout_waits import CurrentJudgement

_PAUSE_S = 1.0  # seconds between writes


class JudgementFile:
    """The latest judgements by the id of their rollout; one thread replaces them, any may read."""

    def __init__(self, home: Home, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = home.rollouts
        self._clock = clock
        self._judgements: dict[str, CurrentJudgement] = {}
        self._written = float("-inf")

    def replace(self, judgements: dict[str, CurrentJudgement]) -> None:
        """Replace all judgements; the file follows once a second, and at once if others run."""
        others = judgements.keys() != self._judgements.keys()
        self._judgements = judgements
        if others or (judgements and self._clock() - self._written >= _PAUSE_S):
            self._written = self._clock()
            try:
                replace_file(self._path, msgspec.json.encode(judgements))
            except OSError:  # a full disk must not end the judging
                self._written = float("-inf")

    def read(self) -> dict[str, CurrentJudgement]:
        """Return the latest judgements."""
        return self._judgements


def read_judgements(home: Home) -> dict[str, CurrentJudgement]:
    """Return the latest judgements of this home's monitor; empty without a monitor."""
    try:
        return msgspec.json.decode(home.rollouts.read_bytes(), type=dict[str, CurrentJudgement])
    except (OSError, msgspec.DecodeError):
        return {}
