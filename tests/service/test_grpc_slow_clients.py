"""Slow and greedy clients of the gRPC ports, with raw frames."""

import socket
from collections.abc import Callable, Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.attack.http2_frames import (
    CHECK,
    INFER,
    PREFACE,
    WATCH,
    data,
    frame,
    head,
    message,
    replies,
)
from service.grpc.limits import LONGEST_OPEN_MESSAGE, MOST_AWAITED_MESSAGES, MOST_OPEN_CALLS
from tests.service.conftest import Service

TIMEOUT_S = 1


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("slow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        service = Service(
            root,
            free_port,
            grpc="native",
            client_timeout_s=str(TIMEOUT_S),
            keep_alive_s="2",
            max_buffered_bytes=str(40 << 20),
        )
        service.register()
        service.registry.promote("tiny", "1")
        service.start()
        yield service
        service.stop()


@pytest.fixture
def connect(serving: Service) -> Iterator[Callable[[], socket.socket]]:
    opened: list[socket.socket] = []

    def connect_one() -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", serving.grpc_port), timeout=60))
        return opened[-1]

    yield connect_one
    for one in opened:
        one.close()


def _check(serving: Service) -> None:
    """A probe is answered."""
    with grpc.insecure_channel(f"127.0.0.1:{serving.grpc_port}") as channel:
        reply = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=60
        )
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def _ended(client: socket.socket) -> bytes:
    """What is received until the server closes."""
    received = bytearray()
    try:
        while piece := client.recv(65_536):
            received += piece
    except ConnectionError:
        pass
    return bytes(received)


def _until(client: socket.socket, found: Callable[[bytes], bool]) -> bytes:
    """What is received until it is enough; fails if the server closes before."""
    received = b""
    while not found(received):
        piece = client.recv(65_536)
        assert piece, replies(received)
        received += piece
    return received


def test_connections_that_send_nothing_are_closed(connect: Callable[[], socket.socket]) -> None:
    half_head = PREFACE[:-9] + frame(1, 0, 1, b"\x83\x86")
    clients = []
    for sent in (b"", PREFACE[:10], PREFACE[:-9], half_head):
        clients.append(connect())
        clients[-1].sendall(sent)
    for client in clients:
        _ended(client)


def test_an_idle_connection_is_retired_and_closed(connect: Callable[[], socket.socket]) -> None:
    client = connect()
    client.sendall(PREFACE)
    assert [kind for kind, _, _ in replies(_ended(client))][-2:] == [7, 6]  # GOAWAY, PING


def test_calls_without_their_message_are_refused(connect: Callable[[], socket.socket]) -> None:
    client = connect()
    client.sendall(PREFACE + head(1, CHECK) + head(3, INFER) + data(3, b"\0\0"))
    client.sendall(head(5, INFER) + data(5, message(bytes(9_000))[:5_000]))
    received = _until(client, lambda got: sum(kind == 3 for kind, _, _ in replies(got)) == 3)
    for call in (1, 3, 5):
        kinds = [kind for kind, stream, _ in replies(received) if stream == call]
        assert kinds[-2:] == [1, 3]  # trailers, and RST_STREAM: the rest is not read
    client.sendall(head(7, CHECK) + data(7, message(b""), end=True))
    _until(client, lambda got: any(frame[:2] == (1, 7) for frame in replies(got)))


def test_methods_without_a_key_accept_only_small_messages(
    connect: Callable[[], socket.socket],
) -> None:
    client = connect()
    client.sendall(
        PREFACE + head(1, CHECK) + data(1, b"\0" + (LONGEST_OPEN_MESSAGE + 1).to_bytes(4))
    )
    received = b""
    while b"expected at most" not in received:
        piece = client.recv(65_536)
        assert piece
        received += piece
    assert b"%d" % LONGEST_OPEN_MESSAGE in received


def test_calls_without_a_message_leave_slots_for_other_calls(
    serving: Service, connect: Callable[[], socket.socket]
) -> None:
    for _ in range(MOST_OPEN_CALLS // 128 + 4):
        client = connect()
        client.sendall(PREFACE + b"".join(head(2 * n + 1, CHECK) for n in range(128)))
    _check(serving)
    assert serving.http.get("/v2/health/ready").status_code == 200


def test_watches_leave_slots_for_other_calls(
    serving: Service, connect: Callable[[], socket.socket]
) -> None:
    for _ in range(MOST_OPEN_CALLS // 128 + 4):
        calls = (head(2 * n + 1, WATCH) + data(2 * n + 1, message(b"")) for n in range(128))
        connect().sendall(PREFACE + b"".join(calls))
    _check(serving)


def test_tiny_frames_of_a_message_end_their_connection(
    connect: Callable[[], socket.socket],
) -> None:
    client = connect()
    start = head(1, INFER) + data(1, message(bytes(15 << 20))[:5])
    try:
        client.sendall(PREFACE + start + data(1, b"x") * 60_000)
    except ConnectionError:
        return
    assert _goaway(_ended(client)) in {11, None}


@pytest.mark.parametrize("flood", ["ping", "settings", "rst", "continuation"])
def test_a_flood_ends_only_its_own_connection(
    serving: Service, connect: Callable[[], socket.socket], flood: str
) -> None:
    made = {
        "ping": frame(6, 0, 0, b"12345678") * 50_000,
        "settings": frame(4, 0, 0) * 50_000,
        "rst": b"".join(
            head(2 * n + 1, INFER) + frame(3, 0, 2 * n + 1, b"\0\0\0\x08") for n in range(5_000)
        ),
        "continuation": head(1, INFER, ended=False) + frame(9, 0, 1, b"") * 50_000,
    }[flood]
    client = connect()
    try:
        client.sendall(PREFACE + made)
        _ended(client)
    except ConnectionError:
        pass
    _check(serving)


def _goaway(received: bytes) -> int | None:
    """The code of the last GOAWAY."""
    codes = [int.from_bytes(body[4:8]) for kind, _, body in replies(received) if kind == 7]
    return codes[-1] if codes else None


def test_a_large_message_in_frames_of_one_byte_does_not_stall_the_worker(
    serving: Service, connect: Callable[[], socket.socket]
) -> None:
    client = connect()
    client.sendall(PREFACE + head(1, INFER) + data(1, message(bytes(15 << 20))[:60_000]))
    client.sendall(b"".join(data(1, b"x") for _ in range(1_900)))
    _check(serving)
    assert serving.http.get("/v2/health/ready", timeout=60).status_code == 200


@pytest.fixture(scope="module")
def aio(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("aio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        bounds = {"client_timeout_s": "1", "keep_alive_s": "2", "max_connections": "40"}
        bounds["request_timeout_s"] = "2"
        service = Service(root, free_port, grpc="aio", **bounds)
        service.start()
        yield service
        service.stop()


def test_the_grpc_aio_server_has_the_same_limits(aio: Service) -> None:
    def connect() -> socket.socket:
        return socket.create_connection(("127.0.0.1", aio.grpc_port), timeout=60)

    deaf = connect()
    deaf.sendall(PREFACE + frame(4, 1, 0) + head(1, WATCH) + data(1, message(b"")))
    silent, idle, heads = connect(), connect(), [connect() for _ in range(3)]
    idle.sendall(PREFACE)
    for one in heads:  # more than there are slots
        calls = b"".join(head(2 * n + 1, CHECK) for n in range(128))
        one.sendall(PREFACE + frame(4, 1, 0) + calls)  # grpc waits for the ACK of its settings
    _check(aio)
    received = _until(heads[0], lambda got: sum(one[0] == 1 for one in replies(got)) == 128)
    assert b"ended in favour of a newer call" in received
    assert 7 in [kind for kind, _, _ in replies(_ended(idle))]  # GOAWAY
    _ended(silent)
    _ended(deaf)  # it answers no ping
    with connect() as keyed:
        calls = b"".join(head(2 * n + 1, INFER) for n in range(128))
        keyed.sendall(PREFACE + frame(4, 1, 0) + calls)
        late = 128 - MOST_AWAITED_MESSAGES
        received = _until(keyed, lambda got: sum(one[0] == 1 for one in replies(got)) >= late)
        assert b"no message arrived within 2 s" in received
        _check(aio)
    for flood in (frame(6, 0, 0, b"12345678") * 5_000, frame(9, 0, 1, b"") * 5_000):
        with connect() as client:
            client.sendall(PREFACE + flood)
            _ended(client)
    many = [connect() for _ in range(60)]
    greeted = 0
    for one in many:
        try:
            one.sendall(PREFACE)
            greeted += bool(one.recv(1_000))
        except ConnectionError:
            pass
    assert 0 < greeted <= 40
    for one in many:
        one.close()
    _check(aio)
