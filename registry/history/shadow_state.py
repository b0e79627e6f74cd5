"""The shadows of a model as a pure function of the rows of its history.

A shadow begins and ends by a row. It also ends when its alias names its version, which then answers
itself, and when its content is barred or rejected.
"""

from collections.abc import Collection

import msgspec

from registry.errors import DamagedRow
from registry.history.rows import HistoryRow, ShadowChange


class Shadow(msgspec.Struct, frozen=True):
    """A version that runs on what another one answered, and answers no requests."""

    id: str
    number: str  # the version that runs
    alias: str  # whose answers it runs on
    share: float  # share of the requests
    since: int  # microseconds since the epoch
    actor: str
    why: str = ""
    revision: int = 0  # revision of the row that began it


def after_shadow(shadows: dict[str, Shadow], row: HistoryRow) -> None:
    """Apply a row of kind `shadow`; one that has no effect changes nothing."""
    try:
        change = row.decode(ShadowChange)
    except DamagedRow:  # driftline audit verify names it
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
    """End the shadow of a version that its alias names from now on."""
    now = shadows.get(row.number)
    if now is not None and now.alias == row.alias:
        del shadows[row.number]


def without(shadows: dict[str, Shadow], numbers: Collection[str]) -> None:
    """End the shadows of versions that were barred or rejected."""
    for number in numbers:
        shadows.pop(number, None)
