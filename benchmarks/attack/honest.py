"""Honest clients: keyed requests over REST and gRPC, and health probes, each at its own rate."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc.aio
import httpx
import msgspec
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.attack.attacks import MODEL_PATH
from service.protocol import open_inference_pb2 as pb

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_CLIENTS = 8
_PAUSE_S, _PROBE_PAUSE_S = 0.01, 0.1
_PATIENCE_S = 10.0


class HonestCalls(msgspec.Struct):
    """Calls of honest clients: durations of answered calls in seconds, and failures by text."""

    rest: list[float] = []
    grpc: list[float] = []
    probes: list[float] = []
    failures: dict[str, int] = {}

    def fail(self, what: str, error: Exception) -> None:
        """Count a failure."""
        text = f"{what}: {type(error).__name__} {error}"[:160]
        self.failures[text] = self.failures.get(text, 0) + 1


class HonestClients(msgspec.Struct, frozen=True):
    """Clients that send requests of one row with a key."""

    port: int
    grpc_port: int
    key: str
    row: list[float]

    async def run(self, seconds: float) -> HonestCalls:
        """Send calls for this number of seconds."""
        calls, until = HonestCalls(), time.monotonic() + seconds
        bearer = {"authorization": f"Bearer {self.key}"}
        url = f"http://127.0.0.1:{self.port}"
        async with (
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=_PATIENCE_S) as client,
            grpc.aio.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel,
        ):
            infer, message = channel.unary_unary(_INFER), self._message()
            tensor = {"name": "x", "datatype": "FP32", "shape": [1, len(self.row)]}
            body = msgspec.json.encode({"inputs": [tensor | {"data": self.row}]})

            async def by_rest() -> None:
                reply = await client.post(MODEL_PATH, content=body, headers=bearer)
                reply.raise_for_status()

            async def by_grpc() -> None:
                metadata = tuple(bearer.items())
                await infer(message, metadata=metadata, timeout=_PATIENCE_S)

            async def probe() -> None:
                async with httpx.AsyncClient(trust_env=False, timeout=_PATIENCE_S) as stranger:
                    (await stranger.get(f"{url}/livez")).raise_for_status()

            async def probe_grpc() -> None:
                options = [("grpc.use_local_subchannel_pool", 1)]
                address = f"127.0.0.1:{self.grpc_port}"
                async with grpc.aio.insecure_channel(address, options=options) as stranger:
                    check = health_pb2_grpc.HealthStub(stranger).Check
                    await check(health_pb2.HealthCheckRequest(), timeout=_PATIENCE_S)

            await asyncio.gather(
                *(_repeat(by_rest, calls.rest, _PAUSE_S, until, calls) for _ in range(_CLIENTS)),
                *(_repeat(by_grpc, calls.grpc, _PAUSE_S, until, calls) for _ in range(2)),
                _repeat(probe, calls.probes, _PROBE_PAUSE_S, until, calls),
                _repeat(probe_grpc, calls.probes, _PROBE_PAUSE_S, until, calls),
            )
        return calls

    def _message(self) -> bytes:
        request = pb.ModelInferRequest(model_name="small")
        request.inputs.add(name="x", datatype="FP32", shape=[1, len(self.row)])
        request.inputs[0].contents.fp32_contents.extend(self.row)
        encoded: bytes = request.SerializeToString()
        return encoded


async def _repeat(
    call: Callable[[], Awaitable[None]],
    took: list[float],
    pause: float,
    until: float,
    calls: HonestCalls,
) -> None:
    while time.monotonic() < until:
        began = time.perf_counter()
        try:
            await call()
        except (httpx.HTTPError, grpc.RpcError) as error:
            calls.fail(call.__name__, error)
        else:
            took.append(time.perf_counter() - began)
        await asyncio.sleep(pause)
