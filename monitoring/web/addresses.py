"""Read the parts of an address: numbers that databases hold, and no path that no name can have."""

from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

WHOLE_NUMBER = "[0-9]{1,18}"  # less than 2 ** 63, which both databases hold


class WholeNumber(Convertor[int]):
    """`{name:whole}`: a number that databases hold, such as the start of a window."""

    regex = WHOLE_NUMBER

    def convert(self, value: str) -> int:
        """Return the number."""
        return int(value)

    def to_string(self, value: int) -> str:
        """Return its digits."""
        return str(value)


register_url_convertor("whole", WholeNumber())


class PlainPaths:
    """Refuse a path with a NUL: no name has one, and PostgreSQL takes none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass every other request."""
        if scope["type"] == "http" and "\0" in scope["path"]:
            refusal = PlainTextResponse("the path has a NUL; expected none\n", 400)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)
