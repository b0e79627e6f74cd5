"""Health over gRPC: all watches share one check."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc_health.v1 import health_pb2 as pb

from service.grpc import health
from service.grpc.health import Health

_WATCH = f"/{health.HEALTH}/Watch"


async def _one_request() -> AsyncIterator[bytes]:
    yield pb.HealthCheckRequest().SerializeToString()
    await asyncio.Event().wait()


async def test_many_watches_check_as_often_as_a_single_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "POLL_INTERVAL_S", 0)
    looks, ready = 0, True

    def is_ready() -> bool:
        nonlocal looks
        looks += 1
        return ready

    watched = Health([], is_ready)
    method: Any = watched.methods()[_WATCH]
    watches = [method.handle(_one_request(), None) for _ in range(100)]
    serving = pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVING).SerializeToString()
    assert {await anext(one) for one in watches} == {serving}
    later = [asyncio.ensure_future(anext(one)) for one in watches]
    looks = 0
    for _ in range(50):
        await asyncio.sleep(0)
    assert 0 < looks <= 50
    ready = False
    other = pb.HealthCheckResponse(status=pb.HealthCheckResponse.NOT_SERVING).SerializeToString()
    assert set(await asyncio.gather(*later)) == {other}
    watched.stop()
    for one in watches:
        with pytest.raises(StopAsyncIteration):
            await anext(one)
