"""Learn the baseline of a version without a reference from its first windows."""

from collections.abc import Sequence

import msgspec

from monitoring.results import Window
from registry.manifest import BaselinePolicy

MOST_ROWS = 20_000  # maximum rows of a baseline, unless the policy's `min_rows` is larger


class LearnedWindow(msgspec.Struct, frozen=True, array_like=True):
    """A closed window of a baseline that is being learned."""

    start: int
    end: int
    rows: int  # sampled rows


def learned_span(windows: Sequence[LearnedWindow], policy: BaselinePolicy) -> Window | None:
    """Return a baseline's span, or None if it does not have enough windows or rows so far."""
    if len(windows) < policy.windows or sum(window.rows for window in windows) < policy.min_rows:
        return None
    return Window(windows[0].start, windows[-1].end)
