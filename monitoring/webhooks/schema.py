"""Write the JSON Schema of the body that requests retraining.

Usage: `python -m monitoring.webhooks.schema [FILE]`. The default of FILE is
docs/reference/retrain-request.schema.json.
"""

import sys
from pathlib import Path

import msgspec

from monitoring.results import RetrainRequest
from monitoring.webhooks.body import RETRAIN_REQUESTED, Envelope

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "retrain-request.schema.json"


def retrain_request_schema() -> bytes:
    """Return the schema of the envelope and its data as JSON."""
    _, parts = msgspec.json.schema_components(
        [Envelope, RetrainRequest], ref_template="#/$defs/{name}"
    )
    envelope = parts.pop("Envelope")
    envelope["properties"]["data"] = {"$ref": "#/$defs/RetrainRequest"}
    envelope["properties"]["type"] = {"const": RETRAIN_REQUESTED}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "RetrainRequested",
        **envelope,
        "$defs": parts,
    }
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted")) + b"\n"


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else PAGE).write_bytes(retrain_request_schema())
