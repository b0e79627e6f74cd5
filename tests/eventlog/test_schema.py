"""The published event schemas agree with the written events."""

from pathlib import Path

import jsonschema
import msgspec
import pytest

from eventlog import wire
from eventlog.schema import schemas
from tests.eventlog.test_wire import FEEDBACK, GOLDEN, HEARTBEAT, PREDICTION

PUBLISHED = Path(__file__).parents[2] / "docs" / "events"


def test_the_published_schemas_are_those_of_the_types() -> None:
    published = {path.name: path.read_bytes() for path in PUBLISHED.glob("*.v2.schema.json")}
    assert published == schemas(), "run: python -m eventlog.schema docs/events"


@pytest.mark.parametrize("data", [data for _, data in GOLDEN.values()], ids=GOLDEN)
def test_golden_events_match_the_schema_of_their_type(data: bytes) -> None:
    event = msgspec.json.decode(data)
    schema = msgspec.json.decode((PUBLISHED / f"{event['type']}.schema.json").read_bytes())
    jsonschema.validate(event, schema, jsonschema.Draft202012Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(event | {"sequence": "4"}, schema, jsonschema.Draft202012Validator)


def test_every_header_and_field_is_explained() -> None:
    page = (PUBLISHED.parent / "events.md").read_text()
    for event in (PREDICTION, FEEDBACK, HEARTBEAT):
        names = [name for name, _ in wire.headers(event)]
        names += [field.encode_name for field in msgspec.structs.fields(event)]
        assert [name for name in names if f"`{name}`" not in page] == []
