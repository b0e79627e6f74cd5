"""Read the body of a form or of a JSON request, with a size limit."""

from typing import TypeVar
from urllib.parse import parse_qs

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

MOST_BYTES = 65_536  # bytes of a body
_MOST_FIELDS = 20  # fields of a form

Change = TypeVar("Change", bound=msgspec.Struct)


async def read_change(request: Request, kind: type[Change], what: str) -> Change:
    """Decode a request's body, JSON or form fields, as `kind`; errors call the body `what`.

    Raises HTTPException: 413 if the body is too large, 400 if the body cannot be decoded.
    """
    body = await read_body(request, MOST_BYTES)
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
    """Return the body; raises HTTPException 413 if it is larger than `most` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, f"the body is too large: expected at most {most} bytes")
    return bytes(body)
