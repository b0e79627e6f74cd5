"""The differences of two manifests, field by field. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from registry.manifest import Manifest

_LONGEST = 200  # characters of a value; the rest is cut off


class FieldChange(NamedTuple):
    """The old and the new value of a field; None if a manifest lacks the field."""

    field: str
    before: str | None
    after: str | None


def manifest_diff(before: Manifest | None, after: Manifest) -> list[FieldChange]:
    """Return the fields that differ, in the order of the new manifest; removed fields are last.

    List items, such as features, are identified by their field `name`, or else by their index.
    """
    old = dict(_leaves(msgspec.to_builtins(before))) if before is not None else {}
    new = dict(_leaves(msgspec.to_builtins(after)))
    names = [*new, *(name for name in old if name not in new)]
    return [
        FieldChange(name, old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, child in value.items():
            yield from _leaves(child, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for place, child in enumerate(value):
            name = child.get("name", place) if isinstance(child, Mapping) else place
            yield from _leaves(child, f"{path}[{name}]")
    else:
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        yield path, text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
