"""Reads and writes of the hourly requests of models."""

from collections.abc import Iterable

from monitoring.storage.database import Database, as_struct
from monitoring.storage.rows import encode
from monitoring.storage.sql import traffic
from monitoring.windows.traffic import JudgedHours, OpenHours


def read_traffic(database: Database) -> dict[str, tuple[OpenHours, JudgedHours]]:
    """Read the open and the judged hours of every model."""
    rows = database.all(traffic.ALL)
    return {
        str(model): (
            as_struct(opened, OpenHours),
            JudgedHours() if judged is None else as_struct(judged, JudgedHours),
        )
        for model, opened, judged in rows
    }


def save_traffic(
    database: Database,
    counted: Iterable[tuple[str, OpenHours]],
    judged: Iterable[tuple[str, OpenHours, JudgedHours]],
) -> None:
    """Store open hours (`counted`), or open and judged hours (`judged`), by model."""
    database.many(traffic.SAVE_OPEN, [(model, encode(opened)) for model, opened in counted])
    database.many(
        traffic.SAVE, [(model, encode(opened), encode(hours)) for model, opened, hours in judged]
    )
