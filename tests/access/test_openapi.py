"""A schema that several operations use is one component of the OpenAPI document."""

import pytest

from access.openapi import Operation, describe_api

ITEM = {"title": "Item", "type": "object", "properties": {"title": {"type": "string"}}}


def _document(*bodies: object) -> dict[str, object]:
    operations = {
        f"/{number}": [
            Operation(summary="s", tag="t", scope="read", method="post", body=body, reply=None)
        ]
        for number, body in enumerate(bodies)
    }
    document: dict[str, object] = describe_api("t", "1", "", operations)
    return document


def test_a_titled_schema_becomes_one_component() -> None:
    request = {"title": "Request", "oneOf": [ITEM, {"type": "array", "items": ITEM}]}
    document = _document(request, ITEM)
    schemas = document["components"]["schemas"]  # type: ignore[index]
    reference = {"$ref": "#/components/schemas/Item"}
    assert schemas["Request"]["oneOf"] == [reference, {"type": "array", "items": reference}]
    assert schemas["Item"] == ITEM
    assert str(document["paths"]).count("'title'") == 0


def test_two_schemas_with_the_same_title_are_an_error() -> None:
    with pytest.raises(ValueError, match="'Item'"):
        _document(ITEM, {**ITEM, "type": "array"})
