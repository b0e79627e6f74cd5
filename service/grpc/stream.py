"""Answer a stream of requests concurrently, in the order of the requests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

_IN_FLIGHT = 64  # unanswered requests of one stream


async def in_order(
    requests: AsyncIterator[bytes], answer: Callable[[bytes], Awaitable[bytes]]
) -> AsyncIterator[bytes]:
    """Yield the replies in order; cancel all requests in flight if the client cancels.

    While the client does not read its replies, no further requests are read.
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
