"""The shadows of a model as a pure function of the rows of its history.

A row starts a shadow, and a row stops it. A shadow also ends when its alias is pointed at its
version, which then answers requests, and when its content is barred or rejected.
"""

from collections.abc import Collection

import msgspec

from registry.errors import DamagedRow
from registry.history.rows import HistoryRow, ShadowChange


class Shadow(msgspec.Struct, frozen=True):
    """A version that runs on logged requests of another version and answers no requests."""

    id: str
    number: str  # version that runs as a shadow
    alias: str  # alias whose logged requests the shadow runs on
    share: float  # share of these requests
    since: int  # start of the shadow, in microseconds since the epoch
    actor: str
    why: str = ""
    revision: int = 0  # revision of the row that started the shadow


def after_shadow(shadows: dict[str, Shadow], row: HistoryRow) -> None:
    """Apply a row of kind `shadow`; ignore a row that does not fit the current state."""
    try:
        change = row.decode(ShadowChange)
    except DamagedRow:  # driftline audit verify reports it
        return
    now = shadows.get(row.number)
    if change.action == "start" and now is None:
        shadows[row.number] = Shadow(
            change.shadow, row.number, row.alias, change.share, row.time, row.actor, row.why,
            row.revision,
        )  # fmt: skip
    elif change.action == "stop" and now is not None and now.id == change.shadow:
        del shadows[row.number]


def after_answering(shadows: dict[str, Shadow], row: HistoryRow) -> None:
    """End a shadow whose alias was pointed at its version."""
    now = shadows.get(row.number)
    if now is not None and now.alias == row.alias:
        del shadows[row.number]


def without(shadows: dict[str, Shadow], numbers: Collection[str]) -> None:
    """End the shadows of versions that were barred or rejected."""
    for number in numbers:
        shadows.pop(number, None)
