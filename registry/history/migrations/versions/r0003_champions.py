"""Promote a champion for each model that has none: the version that answered unversioned requests.

Up to 0.2.0, the newest version answered requests without a version. For a time, the first version
of a new model did. Now, only the champion answers them, so that version is recorded as promoted.

A machine's copy of a shared history gets these rows from the server.
"""

import json
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from alembic import context, op
from sqlalchemy import text

from registry.history.lifecycle import LifecycleState, reduce_rows
from registry.history.rows import CHAMPION, FIRST, HistoryRow, next_chain

revision = "0003"
down_revision = "0002"

_COLUMNS = "revision, model, kind, number, time, actor, alias, detail, digest, why, evidence, chain"
_ACTOR = "driftline"
_WHY = "it answered requests that name no version before they went to the champion alone"


def upgrade() -> None:
    """Append a promotion for each model without a champion."""
    if context.config.attributes.get("copy"):
        return
    connection = op.get_bind()
    history_rows = connection.execute(text(f"SELECT {_COLUMNS} FROM history ORDER BY revision"))  # noqa: S608 - ours
    rows = [HistoryRow(*row) for row in history_rows]
    if not rows:
        return
    head, chain, now = rows[-1].revision, rows[-1].chain or FIRST, time.time_ns() // 1_000
    for model, number in _answered(rows):
        head += 1
        row = HistoryRow(
            head, model, "promoted", number, now, _ACTOR, CHAMPION, why=_WHY, evidence="migration"
        )
        chain = next_chain(chain, row)
        values = dict(zip(_COLUMNS.split(", "), _values(row, chain), strict=True))
        names = ", ".join(f":{name}" for name in values)
        connection.execute(text(f"INSERT INTO history ({_COLUMNS}) VALUES ({names})"), values)  # noqa: S608 - ours


def _values(row: HistoryRow, chain: str) -> list[Any]:
    return [*(getattr(row, name) for name in _COLUMNS.split(", ")[:-1]), chain]


def _answered(rows: Sequence[HistoryRow]) -> Iterator[tuple[str, str]]:
    """Yield each model without a champion, and the version that answered unversioned requests."""
    for model, of_model in groupby(sorted(rows, key=lambda row: row.model), lambda row: row.model):
        state = reduce_rows(of_model)
        if CHAMPION not in state.aliases and (number := _stand_in(state)):
            yield model, number


def _stand_in(state: LifecycleState) -> str:
    """Return the version that answered requests without a champion, or "" if none could."""
    numbers = sorted(state.registered, key=int)
    refused = state.candidates(numbers)
    newest = [n for n in numbers if not _waits(state.registered[n].detail) and n not in refused]
    if not newest:
        first = numbers[:1]
        return first[0] if first and first[0] not in refused else ""
    loaded = [number for number in newest if not state.is_unloaded(number)]
    return (loaded or newest)[-1]


def _waits(detail: str) -> bool:
    """Return whether a version was registered to answer only after its promotion."""
    return bool(detail) and json.loads(detail).get("champion_only") is True
