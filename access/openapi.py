"""Describe HTTP routes as an OpenAPI 3.1 document. Pure.

The schema of a reply is derived from the struct that is encoded, so the two always agree. If a
body's struct contains raw JSON, its operation states the schema.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

Schema = Mapping[str, Any]

_PLACE = re.compile(r"\{(\w+)(?::\w+)?\}")
_REFERENCE = "#/components/schemas/{name}"
_ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string", "description": "What is wrong, and where."}},
}
JSON = "application/json"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one route. `reply` and `body` are types that msgspec supports, or schemas."""

    summary: str
    tag: str
    scope: str  # scope that a key needs; "open" if no key is needed
    method: str = "get"
    description: str = ""
    reply: Any = None  # None for an empty reply
    media_type: str = JSON  # media type of the reply
    other_replies: Mapping[int, Any] = {}
    body: Any = None
    body_required: bool = True
    examples: Mapping[str, Any] = {}  # examples of the body, by name
    query: Mapping[str, Schema] = {}
    headers: Mapping[str, Schema] = {}  # headers of the request
    reply_headers: Mapping[str, str] = {}  # descriptions by name


def describe_api(
    title: str, version: str, description: str, routes: Mapping[str, Sequence[Operation]]
) -> dict[str, Any]:
    """Return the OpenAPI document of `routes`, whose paths contain parameters as `{name}`."""
    operations = [operation for several in routes.values() for operation in several]
    types = [
        kind
        for operation in operations
        for kind in (operation.reply, operation.body, *operation.other_replies.values())
        if kind is not None and not isinstance(kind, Mapping)
    ]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    by_type = dict(zip(map(repr, types), schemas, strict=True))

    def schema(kind: Any) -> Schema:
        return refer(kind, components) if isinstance(kind, Mapping) else by_type[repr(kind)]

    paths = {
        _PLACE.sub(r"{\1}", path): {
            operation.method: _operation(path, operation, schema) for operation in several
        }
        for path, several in routes.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": description,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def refer(schema: Any, components: dict[str, Any]) -> Any:
    """Replace each schema that has a title with a reference to the component of that name.

    Otherwise, client generators would create two types, such as `FeedbackItem1`, for a schema that
    occurs twice. Raises ValueError if two different schemas have the same title.
    """
    if isinstance(schema, list | tuple):
        return [refer(part, components) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    parts = {name: refer(part, components) for name, part in schema.items()}
    title = parts.get("title")
    if not isinstance(title, str) or not {"type", "oneOf"} & parts.keys():
        return parts
    if components.setdefault(title, parts) != parts:
        raise ValueError(f"two schemas have the title {title!r}")
    return {"$ref": _REFERENCE.format(name=title)}


def _operation(path: str, operation: Operation, schema: Any) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _identifier(operation.method, path),
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [] if operation.scope == "open" else [{"key": []}, {}],
        "responses": _replies(operation, schema),
    }
    about = [operation.description] if operation.description else []
    if operation.scope != "open":
        scope = (
            "any key" if operation.scope == "any" else f"a key with the scope `{operation.scope}`"
        )
        about.append(f"Needs {scope}, where keys are configured.")
    if about:
        described["description"] = " ".join(about)
    if parameters := _parameters(path, operation):
        described["parameters"] = parameters
    if operation.body is not None:
        content: dict[str, Any] = {"schema": schema(operation.body)}
        if operation.examples:
            content["examples"] = {
                name: {"value": value} for name, value in operation.examples.items()
            }
        described["requestBody"] = {"required": operation.body_required, "content": {JSON: content}}
    return described


def _replies(operation: Operation, schema: Any) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Success"}
    if operation.reply is not None:
        success["content"] = {operation.media_type: {"schema": schema(operation.reply)}}
    if operation.reply_headers:
        success["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in operation.reply_headers.items()
        }
    others = {
        str(status): {"description": "Not now", "content": {JSON: {"schema": schema(kind)}}}
        for status, kind in operation.other_replies.items()
    }
    error = {"schema": {"$ref": _REFERENCE.format(name="Error")}}
    return {
        "200": success,
        **others,
        "default": {"description": "Refused or failed", "content": {JSON: error}},
    }


def _parameters(path: str, operation: Operation) -> list[dict[str, Any]]:
    places = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PLACE.findall(path)
    ]
    optional = [
        {"name": name, "in": place, "required": False, "schema": schema}
        for place, schemas in (("query", operation.query), ("header", operation.headers))
        for name, schema in schemas.items()
    ]
    return [*places, *optional]


def _identifier(method: str, path: str) -> str:
    words = [word for part in path.split("/") for word in re.findall(r"\w+", part.split(":")[0])]
    return "_".join([method, *words]).replace(".", "_")
