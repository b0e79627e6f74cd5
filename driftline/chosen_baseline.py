"""Record sampled rows of production as the baseline of a version."""

from eventlog.errors import DriftlineError
from eventlog.settings import Home
from monitoring.presenter import formats
from monitoring.results import Window
from monitoring.settings import database_address
from monitoring.storage.database import exists
from monitoring.storage.store import Store
from monitoring.windows.learned_baseline import MOST_ROWS
from registry.baselines import BaselineRecord
from registry.manifest import Version
from registry.reference_path import REFERENCE, learns
from registry.store import Registry

LEAST_ROWS = 100


class InvalidBaseline(DriftlineError):
    """The chosen period cannot be a baseline; the message states the reason and the remedy."""


def require_learning(version: Version) -> None:
    """Raise InvalidBaseline for a version with a registered reference."""
    # A version of another machine lists its files, but has no path on this machine.
    has_reference = REFERENCE in version.files
    if (not learns(version)) if version.path else has_reference:
        raise InvalidBaseline(
            f"{version.model} version {version.number} has a registered reference: to replace it, "
            "register a version with a new reference"
        )


def choose(  # noqa: PLR0913  # the fields of a history row are separate arguments
    home: Home,
    registry: Registry,
    version: Version,
    period: tuple[int, int],
    *,
    why: str,
    actor: str,
) -> tuple[int, int]:
    """Record a period's sampled rows as the baseline; return the revision and the number of rows.

    Raises InvalidBaseline. The monitor's database must be reachable from this machine.
    """
    require_learning(version)
    window = Window(*period)
    if window.start >= window.end:
        raise InvalidBaseline(
            f"period {period[0]} to {period[1]}: expected its start before its end"
        )
    record = _stored(home, version, window, why)
    return registry.record_baseline(version, record, actor=actor), record.rows


def _stored(home: Home, version: Version, period: Window, why: str) -> BaselineRecord:
    """Write a period's sampled rows to a file and return the baseline's record."""
    from monitoring.baselines.files import BaselineFiles  # noqa: PLC0415 - Arrow is slow to import
    from monitoring.baselines.vectors import vector_columns  # noqa: PLC0415 - NumPy is slow to import
    from registry.sampled_tensors import sampled_vectors  # noqa: PLC0415 - NumPy is slow to import

    address = database_address(home)
    if not exists(address):
        raise InvalidBaseline("the monitor has no database yet: run driftline monitor first")
    store = Store(address)
    try:
        most = max(MOST_ROWS, version.manifest.monitoring.baseline.min_rows)
        columns = store.smallest_rows(version.model, version.number, period, most)
        vectors = {
            vector.name: store.vectors(
                version.model, version.number, period, vector.name, vector.size
            )
            for vector in sampled_vectors(version.manifest)
        }
    finally:
        store.close()
    rows = len(next(iter(columns.values()), []))
    if rows < LEAST_ROWS:
        raise InvalidBaseline(
            f"{formats.period(period)} has {formats.several(rows, 'sampled row')}; expected at "
            f"least {LEAST_ROWS}: choose a longer period that retention has not deleted"
        )
    columns |= vector_columns(vectors, rows)
    digest = BaselineFiles(home.baselines).write(version.manifest, columns)
    return BaselineRecord(
        origin="chosen", digest=digest, start=period.start, end=period.end, rows=rows, why=why
    )
