"""Generate the JSON Schemas of events from the types: `python -m eventlog.schema docs/events`.

The schemas of version 1 are not generated, because nothing writes these events any more.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec

from eventlog.events import FeedbackEvent, HeartbeatEvent, PredictionEvent

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, bytes]:
    """Return file name -> JSON Schema for each event type of the current schema version."""
    return {
        f"{kind.__struct_config__.tag}.schema.json": _write(kind)
        for kind in (PredictionEvent, FeedbackEvent, HeartbeatEvent)
    }


def _write(kind: type[msgspec.Struct]) -> bytes:
    schema: dict[str, Any] = {"$schema": _DIALECT, **msgspec.json.schema(kind)}
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


if __name__ == "__main__":
    for name, content in schemas().items():
        (Path(sys.argv[1]) / name).write_bytes(content)
