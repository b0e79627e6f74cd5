"""One stream of requests: many in flight, their replies in the order in which they came."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

_IN_FLIGHT = 64  # requests of one stream that are read and not yet answered


async def in_order(
    requests: AsyncIterator[bytes], answer: Callable[[bytes], Awaitable[bytes]]
) -> AsyncIterator[bytes]:
    """The answers; a client that leaves takes its requests in flight with it.

    Where the client does not read its answers, no further requests are read.
    """
    pending: asyncio.Queue[asyncio.Future[bytes] | None] = asyncio.Queue(_IN_FLIGHT)

    async def take() -> None:
        async for request in requests:
            await pending.put(asyncio.ensure_future(answer(request)))
        await pending.put(None)

    taking = asyncio.create_task(take())
    running: asyncio.Future[bytes] | None = None
    try:
        while (running := await pending.get()) is not None:
            yield await running
    finally:
        taking.cancel()
        while running is not None:
            running.cancel()
            running = None if pending.empty() else pending.get_nowait()
