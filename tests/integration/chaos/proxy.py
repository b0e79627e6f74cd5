"""A small TCP proxy that cuts, slows and resets connections."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable

_CHUNK = 1 << 16


class Proxy:
    """Listens on `port` and passes everything on to `target`, until it is stopped."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.delay = 0.0  # seconds that every chunk is held back
        self.open = True  # whether new connections are let through
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        start = asyncio.start_server(self._connected, "127.0.0.1", port)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(10)

    def cut(self) -> None:
        """End every connection, and let no new one through until `heal`."""
        self.open = False
        self._do(self._end_all)

    def reset(self) -> None:
        """Break every connection with a RST; new ones come through."""
        self._do(self._reset_all)

    def heal(self) -> None:
        """Pass everything on at once."""
        self.open, self.delay = True, 0.0

    def stop(self) -> None:
        self.cut()
        self._do(self._server.close)
        self._do(self._loop.stop)
        self._thread.join()

    def _do(self, what: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(what)

    def _end_all(self) -> None:
        for writer in self._writers:
            writer.close()

    def _reset_all(self) -> None:
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.open:
            writer.close()
            return
        with contextlib.suppress(OSError):
            there, onward = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(self._pump(reader, onward), self._pump(there, writer))
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while chunk := await reader.read(_CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
