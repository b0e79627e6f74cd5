"""Restrictions of URL paths: whole numbers that fit into the databases, and no NUL."""

from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

WHOLE_NUMBER = "[0-9]{1,18}"  # less than 2 ** 63, the limit of both databases' integers


class WholeNumber(Convertor[int]):
    """The converter of `{name:whole}` in routes: a whole number, such as a window's start."""

    regex = WHOLE_NUMBER

    def convert(self, value: str) -> int:
        """Return the number."""
        return int(value)

    def to_string(self, value: int) -> str:
        """Return the number's digits."""
        return str(value)


register_url_convertor("whole", WholeNumber())


class PlainPaths:
    """Middleware that refuses paths with NUL, which PostgreSQL rejects and no name contains."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request with 400 if its path contains NUL; else pass it on."""
        if scope["type"] == "http" and "\0" in scope["path"]:
            refusal = PlainTextResponse("the path contains NUL: expected a path without it\n", 400)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)
