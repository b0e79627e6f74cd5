"""Reads and writes of sampled tensors during a step of the consumer.

Samples that a step adds or evicts are written at the end of the step, or before the next read.
"""

from collections.abc import Sequence

from monitoring.results import Window
from monitoring.samples import Sample
from monitoring.storage.database import Database, as_bytes, as_int
from monitoring.storage.predictions import Key
from monitoring.storage.query import Row
from monitoring.storage.sql import samples as queries

_Place = tuple[str, str, int, str, int]  # model, version, start, tensor, hash


class Samples:
    """Sampled rows of tensors, for use inside a transaction; call `flush` at its end."""

    def __init__(self, database: Database) -> None:
        """Read and write samples in `database`."""
        self._database = database
        self._added: dict[_Place, Sample] = {}  # not written yet
        self._evicted: list[_Place] = []

    def add(self, key: Key, sample: Sample) -> None:
        """Add a sampled row."""
        self._added[_place(key, sample.start, sample.tensor, sample.number)] = sample

    def evict(self, key: Key, window: Window, tensor: str, number: int) -> None:
        """Delete the sampled row with this hash."""
        place = _place(key, window.start, tensor, number)
        if self._added.pop(place, None) is None:
            self._evicted.append(place)

    def evict_above(self, key: Key, window: Window, tensor: str, largest: int) -> None:
        """Delete a window's sampled rows with a hash above `largest`."""
        self.flush()
        self._database.do(
            queries.EVICT_ABOVE, **_of_window(key, window), tensor=tensor, largest=largest
        )

    def hashes(self, key: Key, tensor: str, window: Window) -> list[int]:
        """Read the hashes of a tensor's sampled rows in a window."""
        self.flush()
        rows = self._database.all(queries.HASHES, **_of_window(key, window), tensor=tensor)
        return [as_int(number) for (number,) in rows]

    def files(self, key: Key, window: Window) -> list[Sample]:
        """Read the sampled image files that are not converted to pictures yet."""
        self.flush()
        return read_samples(self._database.all(queries.FILES, **_of_window(key, window)))

    def vectors(self, key: Key, window: Window, tensor: str, limit: int) -> list[bytes]:
        """Read the `limit` sampled vectors of a tensor with the smallest hashes."""
        self.flush()
        rows = self._database.all(
            queries.VECTORS, **_of_window(key, window), tensor=tensor, limit=limit
        )
        return [sample.body for sample in read_samples(rows)]

    def replace(self, key: Key, samples: Sequence[Sample]) -> None:
        """Replace the form and body of samples that still exist."""
        self._database.many(
            queries.REPLACE,
            [
                (sample.form, sample.body, *_place(key, sample.start, sample.tensor, sample.number))
                for sample in samples
            ],
        )

    def delete(self, key: Key, until: int, limit: int) -> int:
        """Delete at most `limit` samples of windows before `until`; return the number deleted."""
        model, version = key
        return self._database.do(
            queries.SWEEP, model=model, version=version, until=until, limit=limit
        )

    def flush(self) -> None:
        """Write unsaved changes to the database."""
        if self._evicted:
            self._database.many(queries.EVICT, self._evicted)
            self._evicted.clear()
        if self._added:
            self._database.many(
                queries.ADD,
                [(*place, sample.form, sample.body) for place, sample in self._added.items()],
            )
            self._added.clear()


def read_samples(rows: Sequence[Row]) -> list[Sample]:
    """Convert the rows of a query into samples."""
    return [
        Sample(str(tensor), as_int(number), as_int(start), str(form), as_bytes(body))  # type: ignore[arg-type]
        for tensor, number, start, form, body in rows
    ]


def _place(key: Key, start: int, tensor: str, number: int) -> _Place:
    return (*key, start, tensor, number)


def _of_window(key: Key, window: Window) -> dict[str, object]:
    model, version = key
    return {"model": model, "version": version, "start": window.start, "end": window.end}
