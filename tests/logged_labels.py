"""Labels in an event log, each for a separate prediction."""

from typing import Any

from msgspec.structs import replace

from eventlog.answer_counts import CountingWriter
from eventlog.events import FeedbackEvent
from tests.monitoring.log_in_memory import T0


def append_label(writer: CountingWriter, **changes: Any) -> None:
    """Append a label 1, received at T0; `changes` replace fields of its event."""
    event = FeedbackEvent(
        source=writer.source,
        epoch=writer.epoch,
        sequence=writer.next_sequence,
        time=T0,
        received=T0,
        prediction_id=f"p{writer.next_sequence}",
        label=1,
    )
    writer.append([replace(event, **changes)])
