"""The native gRPC server's connections, compression, cancellation and health."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
import zttp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from eventlog.events import PredictionEvent
from service.grpc import http2
from service.grpc.servicer import SERVICE
from service.protocol import open_inference_pb2 as pb
from tests.depth import by_depth
from tests.service.conftest import Service

pytestmark = pytest.mark.untraced

INFER = f"/{SERVICE}/ModelInfer"
STREAM = f"/{SERVICE}/ModelStreamInfer"
# More than a connection's worth, so that the channel needs another one.
CALLS = http2.MOST_CALLS + by_depth(500, 200_000)


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("native")
    with Service(root, free_port, grpc="native", max_body_bytes="200000") as service:
        service.start_champion()
        yield service


@pytest.fixture
def at(serving: Service) -> str:
    return f"127.0.0.1:{serving.grpc_port}"


def _request(rows: int = 1) -> bytes:
    request = pb.ModelInferRequest(model_name="tiny", id="mine")
    request.inputs.add(name="price", datatype="FP32", shape=[rows, 1])
    request.inputs.add(name="colour", datatype="BYTES", shape=[rows, 1])
    request.inputs[0].contents.fp32_contents.extend([0.5] * rows)
    request.inputs[1].contents.bytes_contents.extend([b"red"] * rows)
    data: bytes = request.SerializeToString()
    return data


async def test_a_channel_continues_when_its_connections_are_retired(at: str) -> None:
    async with grpc.aio.insecure_channel(at) as channel:
        call, left = channel.unary_unary(INFER), iter(range(CALLS))

        async def ask() -> None:
            for _ in left:
                await call(_request())

        await asyncio.gather(*(ask() for _ in range(128)))


async def test_a_stream_can_have_more_messages_than_a_connection_has_calls(at: str) -> None:
    count = http2.MOST_CALLS + by_depth(500, 2 * http2.MOST_CALLS)
    async with grpc.aio.insecure_channel(at) as channel:
        stream = channel.stream_stream(STREAM)()

        async def write() -> None:
            for _ in range(count):
                await stream.write(_request())
            await stream.done_writing()

        writing = asyncio.create_task(write())
        heard = [pb.ModelStreamInferResponse.FromString(data) async for data in stream]
        await writing
    assert len(heard) == count
    assert {reply.error_message for reply in heard} == {""}


def test_trailing_metadata_states_how_the_reply_was_computed(at: str) -> None:
    with grpc.insecure_channel(at) as channel:
        _, call = channel.unary_unary(INFER).with_call(_request())
        reported = dict(call.trailing_metadata())
        assert reported["driftline-version"] == "1"
        assert int(reported["driftline-run-us"]) >= 0
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(INFER)(b"\xff")
        reported = dict(refused.value.trailing_metadata())  # type: ignore[attr-defined]
        assert reported["driftline-prediction-id"]


@pytest.mark.parametrize("kind", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_both_directions_may_be_compressed(at: str, kind: grpc.Compression) -> None:
    with grpc.insecure_channel(at, compression=kind) as channel:
        reply, call = channel.unary_unary(INFER).with_call(_request(500))
        assert (
            len(pb.ModelInferResponse.FromString(reply).outputs[0].contents.int64_contents) == 500
        )
        reported = dict(call.initial_metadata())
        assert reported.get("grpc-encoding", kind.name.lower()) == kind.name.lower()


def test_a_client_that_leaves_is_in_the_log_as_cancelled(at: str, serving: Service) -> None:
    with grpc.insecure_channel(at) as channel:
        for _ in range(20):
            channel.unary_unary(INFER).future(_request(400)).cancel()
        channel.unary_unary(INFER)(_request())
    outcomes = {e.event.outcome for e in serving.events() if isinstance(e.event, PredictionEvent)}
    assert outcomes <= {"ok", "cancelled", "invalid"}


def test_a_message_beyond_the_limit_is_refused_with_an_event(at: str, serving: Service) -> None:
    with grpc.insecure_channel(at) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(INFER)(bytes(200_001))
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
        assert "expected at most 200000" in refused.value.details()  # type: ignore[attr-defined]
        channel.unary_unary(INFER)(_request())
    last = [e.event for e in serving.events()][-2]
    assert isinstance(last, PredictionEvent)
    assert (last.outcome, "200001 bytes" in last.reason) == ("invalid", True)


class Raw:
    """An HTTP/2 client that says what no gRPC library would."""

    def __init__(self, at: str) -> None:
        host, port = at.split(":")
        self.http2 = zttp.Connection(zttp.CLIENT, zttp.HTTP2)
        self.http2.initiate_connection()
        self.socket = socket.create_connection((host, int(port)), timeout=60)

    def ask(
        self, body: bytes, *, path: bytes = INFER.encode(), method: bytes = b"POST", **headers: str
    ) -> dict[bytes, bytes]:
        """Headers and trailers of the reply to one call."""
        stated = {"host": "x", "te": "trailers", "content-type": "application/grpc"}
        stated |= {name.replace("_", "-"): value for name, value in headers.items()}
        pairs = [(name.encode(), value.encode()) for name, value in stated.items()]
        stream = self.http2.send_request(method, path, b"2", pairs)
        if body:
            stream.send_data(body)
        stream.end_message()
        return self._reply()

    def _reply(self) -> dict[bytes, bytes]:
        reported: dict[bytes, bytes] = {}
        while True:
            self.socket.sendall(self.http2.data_to_send())
            while (event := self.http2.next_event()) is not zttp.NEED_DATA:
                if isinstance(event, zttp.Response):
                    reported |= dict(event.headers) | {b":status": b"%d" % event.status_code}
                elif isinstance(event, zttp.EndOfMessage):
                    return reported | dict(event.trailers)
            self.http2.receive_data(self.socket.recv(65_536))


def _prefixed(data: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(data).to_bytes(4) + data


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"", {}, b"3", b"no message"),
        (b"\0\0", {}, b"3", b"is incomplete: it has 2 bytes"),
        (_prefixed(b"") * 2, {}, b"5", b"no model"),
        (_prefixed(b"x", 1), {}, b"12", b"compressed, but grpc-encoding is"),
        (_prefixed(b"no gzip", 1), {"grpc_encoding": "gzip"}, b"3", b"is damaged"),
        (_prefixed(b""), {"grpc_encoding": "br"}, b"12", b"expected one of identity"),
        (_prefixed(b""), {"grpc_timeout": "soon"}, b"3", b"grpc-timeout"),
        (_prefixed(b""), {"path": "/nobody/Nothing"}, b"12", b"no such method"),
    ],
)
def test_an_invalid_call_gets_a_message_and_the_connection_continues(
    at: str, body: bytes, headers: dict[str, Any], status: bytes, words: bytes
) -> None:
    client = Raw(at)
    if "path" in headers:
        headers = headers | {"path": headers["path"].encode()}
    reported = client.ask(body, **headers)
    assert reported[b":status"] == b"200"
    assert reported[b"grpc-status"] == status
    assert words in reported[b"grpc-message"]
    assert client.ask(_prefixed(_request()))[b"grpc-status"] == b"0"


def test_a_stream_ends_at_its_deadline_although_its_client_does_not_end_it(at: str) -> None:
    client = Raw(at)
    reported = client.ask(_prefixed(b""), path=b"/grpc.health.v1.Health/Watch", grpc_timeout="200m")
    assert reported[b"grpc-status"] == b"4"
    assert client.ask(_prefixed(_request()))[b"grpc-status"] == b"0"


def test_requests_that_are_not_grpc_are_refused_as_http(at: str) -> None:
    client = Raw(at)
    assert client.ask(b"{}", content_type="application/json")[b":status"] == b"415"
    assert client.ask(b"", method=b"GET")[b":status"] == b"415"
    assert client.ask(_prefixed(_request()))[b"grpc-status"] == b"0"


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"\0" * 100, os.urandom(500), b"PRI * HTTP/2"]
)
def test_bytes_that_are_not_http2_end_only_their_own_connection(at: str, data: bytes) -> None:
    with grpc.insecure_channel(at) as channel:
        channel.unary_unary(INFER)(_request())
        host, port = at.split(":")
        with socket.create_connection((host, int(port)), timeout=60) as stranger:
            stranger.sendall(data)
            stranger.shutdown(socket.SHUT_WR)
            while stranger.recv(4096):
                pass
        channel.unary_unary(INFER)(_request())


@pytest.mark.parametrize(("count", "code"), [(75, "OK"), (600, "RESOURCE_EXHAUSTED")])
async def test_a_slow_reader_can_send_on_until_its_unread_replies_reach_the_limit(
    at: str, count: int, code: str
) -> None:
    fresh = [("grpc.use_local_subchannel_pool", 1)]  # its windows are the smallest
    async with grpc.aio.insecure_channel(at, options=fresh) as channel:
        stream = channel.stream_stream(STREAM)(timeout=180)

        async def write() -> None:
            for _ in range(count):
                await stream.write(_request(15_000))  # its reply is longer than the window
            await stream.done_writing()

        writing = asyncio.create_task(write())
        await asyncio.wait([writing], timeout=180)
        with suppress(grpc.aio.AioRpcError):
            heard = [len(data) async for data in stream]
            assert len(heard) == count
        await asyncio.gather(writing, return_exceptions=True)
        assert (await stream.code()).name == code
        assert await channel.unary_unary(INFER)(_request())


def test_a_connection_is_retired_before_cancellations_count_as_a_flood(at: str) -> None:
    client = Raw(at)
    headers = [(b"host", b"x"), (b"te", b"trailers"), (b"content-type", b"application/grpc")]
    for _ in range(http2.MOST_CANCELLED):
        client.http2.send_request(b"POST", STREAM.encode(), b"2", headers).reset(8)
    client.socket.sendall(client.http2.data_to_send())
    while not isinstance(event := client.http2.next_event(), zttp.GoAway):
        if event is zttp.NEED_DATA:
            data = client.socket.recv(65_536)
            assert data
            client.http2.receive_data(data)
    assert event.error_code == 0


def test_a_health_watch_lasts_until_the_service_ends(at: str, serving: Service) -> None:
    """The last test of the file, for it ends the service."""
    with grpc.insecure_channel(at) as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        serving.signal(signal.SIGTERM)
        assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert list(watching) == []
    assert serving.stop() == 0
