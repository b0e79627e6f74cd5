"""Answer the requests of a stream concurrently, and reply in their order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

_IN_FLIGHT = 64  # maximum number of unanswered requests of a stream


async def in_order(
    requests: AsyncIterator[bytes], answer: Callable[[bytes], Awaitable[bytes]]
) -> AsyncIterator[bytes]:
    """Yield the replies in order; if the client cancels, cancel all requests in flight.

    While the client does not read its replies, no further requests are read.
    """
    pending: asyncio.Queue[asyncio.Future[bytes] | None] = asyncio.Queue(_IN_FLIGHT)

    async def read() -> None:
        async for request in requests:
            await pending.put(asyncio.ensure_future(answer(request)))
        await pending.put(None)

    reading = asyncio.create_task(read())
    running: asyncio.Future[bytes] | None = None
    try:
        while (running := await pending.get()) is not None:
            yield await running
    finally:
        reading.cancel()
        while running is not None:
            running.cancel()
            running = None if pending.empty() else pending.get_nowait()
