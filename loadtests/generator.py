"""A closed-loop HTTP/1.1 load generator on raw sockets: one request in flight per connection.

It asks the same question again and again; the servers compared answer it the same way. Python makes
it slower than the servers may be, so read the server's CPU per request before requests per second.
"""

import asyncio
import time

import msgspec


class Load(msgspec.Struct, frozen=True):
    """What the generator saw; latencies in seconds."""

    requests: int
    seconds: float
    latencies: list[float]

    def quantile(self, share: float) -> float:
        """A latency that this share of the requests did not exceed, in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)]


async def generate(port: int, path: str, body: bytes, *, connections: int, seconds: float) -> Load:
    """Send `body` to 127.0.0.1:`port` over so many connections for so long."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    latencies: list[float] = []
    started = time.perf_counter()
    end = started + seconds
    await asyncio.gather(*(_connection(port, request, end, latencies) for _ in range(connections)))
    return Load(len(latencies), time.perf_counter() - started, latencies)


async def _connection(port: int, request: bytes, end: float, latencies: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (sent := time.perf_counter()) < end:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await _finish(reader, head)
        latencies.append(time.perf_counter() - sent)
    writer.close()
    await writer.wait_closed()


async def _finish(reader: asyncio.StreamReader, head: bytes) -> None:
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the server answered {head.decode()}")
    lower = head.lower()
    if b"content-length:" in lower:
        size = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(size)
        return
    while (
        size := int(await reader.readline(), 16)
    ) > 0:  # chunked, as uvicorn sends without length
        await reader.readexactly(size + 2)
    await reader.readline()
