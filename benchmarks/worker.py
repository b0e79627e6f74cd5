"""A worker's side of the log without a service: what it would have appended, as fast as can be."""

from pathlib import Path
from typing import Any

from eventlog.events import Event, FeedbackEvent, Label, PredictionEvent, Tensor
from eventlog.segments import SegmentWriter

TOGETHER = 32  # events in one append


class Worker:
    """One source of a log; its predictions are known by number."""

    def __init__(self, folder: Path, name: str) -> None:
        """Begin a source of this name in the log."""
        self._writer = SegmentWriter.claim(folder, name)
        self._waiting: list[Event] = []

    def predict(  # noqa: PLR0913, PLR0917 - one row of a story
        self, n: int, at: int, model: str, row: list[float], label: int, chances: list[float]
    ) -> None:
        """A request of one row, answered at the time `at`."""
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

    def tell(self, n: int, at: int, label: Label) -> None:
        """The truth about a prediction, known at the time `at`."""
        self._append(FeedbackEvent(**self._stamp(n, at), label=label))

    def close(self) -> int:
        """Append what is left; how many events there were."""
        self._flush()
        self._writer.close()
        return self._writer.next_sequence

    def _stamp(self, n: int, at: int) -> dict[str, Any]:
        """What every event says: its place in the log, when it was, and of which prediction."""
        return {
            "source": self._writer.source,
            "epoch": self._writer.epoch,
            "sequence": self._writer.next_sequence + len(self._waiting),
            "time": at,
            "received": at,
            # As the service names them: a worker's prefix and a number.
            "prediction_id": f"11ff9d76658d-{n}",
        }

    def _append(self, event: Event) -> None:
        self._waiting.append(event)
        if len(self._waiting) >= TOGETHER:
            self._flush()

    def _flush(self) -> None:
        self._writer.append(self._waiting)
        self._waiting = []
