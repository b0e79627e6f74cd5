"""Count result revisions when many labels arrive at once: `python -m benchmarks.revisions`.

The labels belong to many closed windows. The monitor decides about a revision after each label
(`WindowState.needs_revision`). The alternative decides once per minute of reception time.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from monitoring.windows.window_state import WindowState

WINDOWS, ROWS = 1_000, 200
MINUTES = (1, 10, 60)  # minutes in which the labels arrive


def main() -> None:
    """Print the mean number of revisions per window."""
    print("| order of the labels | minutes | decided after each label | once a minute |")
    print("| --- | ---: | ---: | ---: |")
    ordered = [window for window in range(WINDOWS) for _ in range(ROWS)]
    shuffled = np.random.default_rng(1).permutation(ordered).tolist()
    for name, order in (("window by window", ordered), ("random", shuffled)):
        for minutes in MINUTES:
            once = revisions(order, 1) / WINDOWS
            by_minute = revisions(order, len(order) // minutes) / WINDOWS
            print(f"| {name} | {minutes} | {once:.1f} | {by_minute:.1f} |")


def revisions(order: Sequence[int], between: int) -> int:
    """Return the number of revisions that labels of these windows cause.

    Decisions are made after each `between` labels. The last label causes a final revision.
    """
    windows = [WindowState(0, 1, rows=ROWS) for _ in range(WINDOWS)]
    count = 0
    for labels in _parts(order, between):
        for number in labels:
            windows[number].labelled += 1
        for number in dict.fromkeys(labels):
            count += _revised(windows[number], final=False)
    return count + sum(_revised(window, final=True) for window in windows)


def _revised(window: WindowState, *, final: bool) -> bool:
    needed = window.needs_revision(final=final)
    if needed:
        window.scored_labels = window.labelled
    return needed


def _parts(order: Sequence[int], length: int) -> Iterator[Sequence[int]]:
    for begin in range(0, len(order), length):
        yield order[begin : begin + length]


if __name__ == "__main__":
    main()
