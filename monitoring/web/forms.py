"""Read the body of a form or of a JSON request, up to a size."""

from typing import TypeVar
from urllib.parse import parse_qs

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

LARGEST = 65_536  # bytes of a change
_MOST_FIELDS = 20

Change = TypeVar("Change", bound=msgspec.Struct)


async def read_change(request: Request, kind: type[Change], what: str) -> Change:
    """Return the change that a body states, as JSON or as a form; `what` names it in errors.

    Raises HTTPException: 413 for a large body, 400 for one that does not state such a change.
    """
    body = await read_body(request, LARGEST)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip()
    try:
        if media_type == "application/json":
            return msgspec.json.decode(body, type=kind)
        fields = parse_qs(body.decode(), max_num_fields=_MOST_FIELDS)
        texts = {name: values[0] for name, values in fields.items()}
        return msgspec.convert(texts, kind, strict=False)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the {what} cannot be read: {error}") from None


async def read_body(request: Request, most: int) -> bytes:
    """Return the body; raises HTTPException 413 beyond `most` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, f"expected at most {most} bytes")
    return bytes(body)
