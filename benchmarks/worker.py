"""Write a worker's events to a log without a service, as fast as possible."""

from pathlib import Path
from typing import Any

from eventlog.events import Event, FeedbackEvent, Label, PredictionEvent, Tensor
from eventlog.segments import SegmentWriter

TOGETHER = 32  # number of events per append


class LogWriter:
    """Writer of one source of a log; predictions are identified by number."""

    def __init__(self, folder: Path, name: str) -> None:
        """Create the source `name` in the log below `folder`."""
        self._writer = SegmentWriter.claim(folder, name)
        self._waiting: list[Event] = []

    def predict(  # noqa: PLR0913, PLR0917 - the fields of one event
        self, n: int, at: int, model: str, row: list[float], label: int, chances: list[float]
    ) -> None:
        """Record a request of one row at the time `at`, in microseconds since the Unix epoch."""
        self._append(
            PredictionEvent(
                **self._stamp(n, at),
                model=model,
                version="1",
                digest="d" * 64,
                protocol="rest",
                outcome="ok",
                rows=1,
                batch_id=f"11ff9d76658d-b{n // TOGETHER}",
                batch_rows=TOGETHER,
                queue_us=40,
                run_us=310,
                total_us=500,
                inputs={"x": Tensor("FP32", [1, len(row)], row)},
                outputs={
                    "label": Tensor("INT64", [1], [label]),
                    "probabilities": Tensor("FP32", [1, 2], chances),
                },
            )
        )

    def label(self, n: int, at: int, label: Label) -> None:
        """Record the label of prediction `n` at the time `at`."""
        self._append(FeedbackEvent(**self._stamp(n, at), label=label))

    def close(self) -> int:
        """Append the remaining events; return the number of all events."""
        self._flush()
        self._writer.close()
        return self._writer.next_sequence

    def _stamp(self, n: int, at: int) -> dict[str, Any]:
        """Return the fields of every event: position, times and prediction id."""
        return {
            "source": self._writer.source,
            "epoch": self._writer.epoch,
            "sequence": self._writer.next_sequence + len(self._waiting),
            "time": at,
            "received": at,
            # The service's format: the worker's prefix and a number.
            "prediction_id": f"11ff9d76658d-{n}",
        }

    def _append(self, event: Event) -> None:
        self._waiting.append(event)
        if len(self._waiting) >= TOGETHER:
            self._flush()

    def _flush(self) -> None:
        self._writer.append(self._waiting)
        self._waiting = []
