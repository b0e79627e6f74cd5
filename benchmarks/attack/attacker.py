"""Run one attack in a separate process for some seconds."""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from benchmarks.attack.attacks import Attack

_TICK_S = 0.05
_MOST_UNSENT = 1 << 20  # bytes that one connection buffers at most
_RETRY_S = 0.1


@contextmanager
def attacking(attack: Attack, port: int, seconds: float) -> Iterator[None]:
    """Attack a local port while the block runs, for at most `seconds`."""
    process = multiprocessing.get_context("spawn").Process(
        target=_run, args=(attack, port, seconds), daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _run(attack: Attack, port: int, seconds: float) -> None:
    asyncio.run(attack_for(attack, port, seconds))


async def attack_for(attack: Attack, port: int, seconds: float, tick: float = _TICK_S) -> None:
    """Attack a port from this event loop, then close every connection."""
    until = time.monotonic() + seconds
    holders = (_hold(attack, port, until, tick) for _ in range(attack.connections))
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*holders), seconds)


async def _hold(attack: Attack, port: int, until: float, tick: float) -> None:
    """Keep one connection open; open it again when the server closes it."""
    loop = asyncio.get_running_loop()
    while time.monotonic() < until:
        try:
            transport, connection = await loop.create_connection(
                lambda: _AttackConnection(attack), "127.0.0.1", port
            )
        except OSError:
            await asyncio.sleep(_RETRY_S)
            continue
        try:
            while not connection.lost and time.monotonic() < until:
                await asyncio.sleep(tick)
                connection.send_again()
        finally:
            transport.abort()


class _AttackConnection(asyncio.Protocol):
    def __init__(self, attack: Attack) -> None:
        self._attack = attack
        self._transport: Any = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if not self._attack.reads:
            self._transport.pause_reading()
        self._transport.write(self._attack.first)

    def send_again(self) -> None:
        """Send again, unless the send buffer is full."""
        if not self.lost and self._transport.get_write_buffer_size() < _MOST_UNSENT:
            self._transport.write(self._attack.again)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.lost = True
