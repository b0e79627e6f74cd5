"""Mutual TLS and the admin port, on a service of two workers, with common clients."""

import base64
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from access.keyfile import KeyFile
from access.keys import Key, make_key
from driftline import AsyncClient, Client, ClientError
from eventlog.events import PredictionEvent
from tests.access.certificates import Certificates
from tests.service.conftest import Service

pytestmark = pytest.mark.untraced

ROW = {"price": 0.5, "colour": "red"}
_ASKED = 12
_CONNECTIONS = 40
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # and empty SETTINGS
_HALF_HELLO = bytes.fromhex("16030100c8010000c40303")  # the begin of a TLS record


class TlsService(Service):
    """A service that shows a certificate and asks for one, and for keys."""

    def __init__(self, root: Any, free_port: Callable[[], int], **settings: str) -> None:
        self.files = Certificates(root / "certificates")
        self.grpc = settings["grpc"]
        self.admin_port = free_port()
        certificate, key = self.files.server
        super().__init__(
            root,
            free_port,
            workers="2",
            poll_interval_s="0.1",
            admin_port=str(self.admin_port),
            tls_certificate=certificate,
            tls_key=key,
            tls_client_ca=str(self.files.authority),
            max_connections=str(_CONNECTIONS),
            **settings,
        )
        self.url = f"https://127.0.0.1:{self.port}"
        self.http = self.connect(self.port)
        self.key = ""

    def connect(self, port: int) -> httpx.Client:
        return httpx.Client(
            base_url=f"https://127.0.0.1:{port}", verify=self.files.context(), trust_env=False
        )

    def call(self, method: str, metadata: list[tuple[str, str]]) -> None:
        pair = [Path(path).read_bytes() for path in self.files.client]
        credentials = grpc.ssl_channel_credentials(self.files.authority.read_bytes(), *pair[::-1])
        with grpc.secure_channel(f"127.0.0.1:{self.grpc_port}", credentials) as channel:
            ask = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            ask(b"", metadata=metadata, timeout=30)

    def add_key(self, *scopes: str) -> str:
        texts = []

        def add(held: list[Key]) -> list[Key]:
            key, text = make_key(held, name=scopes[0], scopes=list(scopes), expires="", now=0)
            texts.append(text)
            return [*held, key]

        KeyFile.of(self.home, {}).change(add)
        return texts[0]


@pytest.fixture(scope="module", params=["native", "aio"])
def secured(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
) -> Iterator[TlsService]:
    root = tmp_path_factory.mktemp("secured")
    with TlsService(root, free_port, grpc=request.param) as service:
        service.register()
        service.registry.promote("tiny", "1")
        service.key = service.add_key("predict", "operate")
        service.start()
        yield service


def _headers(secured: TlsService) -> dict[str, str]:
    return {"authorization": f"Bearer {secured.key}"}


def _inputs(triton: Any) -> list[Any]:
    price = triton.InferInput("price", [1, 1], "FP32")
    price.set_data_from_numpy(np.array([[0.5]], np.float32))
    colour = triton.InferInput("colour", [1, 1], "BYTES")
    colour.set_data_from_numpy(np.array([["red"]], np.object_))
    return [price, colour]


def test_tritons_grpc_client_infers_with_a_certificate_on_both_sides(secured: TlsService) -> None:
    with triton_grpc.InferenceServerClient(
        f"127.0.0.1:{secured.grpc_port}",
        ssl=True,
        root_certificates=str(secured.files.authority),
        certificate_chain=secured.files.client[0],
        private_key=secured.files.client[1],
    ) as client:
        answer = client.infer("tiny", _inputs(triton_grpc), headers=_headers(secured))
        assert answer.as_numpy("label").tolist() == [1]


def test_tritons_http_client_infers_with_a_certificate_on_both_sides(secured: TlsService) -> None:
    with triton_http.InferenceServerClient(
        f"127.0.0.1:{secured.port}",
        ssl=True,
        ssl_context_factory=secured.files.context,
    ) as client:
        answer = client.infer("tiny", _inputs(triton_http), headers=_headers(secured))
        assert answer.as_numpy("label").tolist() == [1]


def test_our_client_infers_with_a_certificate_and_a_key(
    secured: TlsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = secured.files.context()
    with Client(secured.url, api_key=secured.key, verify=verify) as client:
        answer = client.predict("tiny", [ROW])
        assert answer.labels == [1]
        client.feedback(answer, 1)
    monkeypatch.setenv("DRIFTLINE_API_KEY", secured.key)
    with Client(secured.url, verify=verify) as client:
        assert client.predict("tiny", [ROW]).labels == [1]
    with Client(secured.url, api_key="", verify=verify) as client:
        with pytest.raises(ClientError, match="valid key") as refusal:
            client.predict("tiny", [ROW])
        assert refusal.value.status == 401


async def test_our_asynchronous_client_infers_with_a_certificate_and_a_key(
    secured: TlsService,
) -> None:
    verify = secured.files.context()
    async with AsyncClient(secured.url, api_key=secured.key, verify=verify) as client:
        assert (await client.predict("tiny", [ROW])).labels == [1]


def test_a_client_without_a_certificate_gets_no_reply_on_any_port(secured: TlsService) -> None:
    bare = secured.files.context(shown=False)
    for port in (secured.port, secured.admin_port):
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"https://127.0.0.1:{port}/livez", verify=bare, trust_env=False)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False)
    authority = grpc.ssl_channel_credentials(secured.files.authority.read_bytes())
    with (
        grpc.secure_channel(f"127.0.0.1:{secured.grpc_port}", authority) as channel,
        pytest.raises(grpc.RpcError) as refusal,
    ):
        channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=60)
    assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("second", ["", "Bearer x", "the same"])
def test_two_authorization_headers_are_refused(secured: TlsService, second: str) -> None:
    given = _headers(secured)["authorization"]
    other = given if second == "the same" else second
    body = {"model": "tiny", "rows": [ROW]}
    for pair in ((given, other), (other, given)):
        headers = [("authorization", one) for one in pair]
        for path in ("/v2/models/tiny/infer", "/predict", "/v1/feedback", "/metrics"):
            assert secured.http.post(path, json=body, headers=headers).status_code == 401
        with secured.connect(secured.admin_port) as admin:
            assert admin.get("/metrics", headers=headers).status_code == 401
        with pytest.raises(grpc.RpcError) as refusal:
            secured.call("ServerMetadata", headers)
        assert refusal.value.code() == grpc.StatusCode.UNAUTHENTICATED
    secured.call("ServerMetadata", [("authorization", given)])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_versions_are_refused(secured: TlsService, version: ssl.TLSVersion) -> None:
    context = secured.files.context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    for port in (secured.port, secured.grpc_port, secured.admin_port):
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            pytest.raises(OSError),  # noqa: PT011  # an alert, a reset or an end, as the port likes
        ):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/metrics"),
        ("GET", "/docs.json"),
        ("GET", "/schema.json"),
        ("GET", "/"),
        ("GET", "/v2/models/stats"),
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/tiny/load"),
    ],
)
def test_operator_routes_are_only_on_the_admin_port(
    secured: TlsService, method: str, path: str
) -> None:
    headers = _headers(secured)
    assert secured.http.request(method, path, headers=headers).status_code == 404
    with secured.connect(secured.admin_port) as admin:
        assert admin.request(method, path).status_code == 401
        assert admin.request(method, path, headers=headers).status_code == 200


def test_probes_reply_on_both_ports_and_inference_on_one(secured: TlsService) -> None:
    body = {"model": "tiny", "rows": [ROW]}
    infer = "/v2/models/tiny/infer"
    with secured.connect(secured.admin_port) as admin:
        for client in (admin, secured.http):
            assert client.get("/v2/health/ready").status_code == 200
        for path in ("/predict", infer, "/v1/feedback"):
            assert admin.post(path, json=body, headers=_headers(secured)).status_code == 404
    assert secured.http.post(infer, json=body, headers=_headers(secured)).status_code == 400


def test_any_worker_answers_for_all_on_the_admin_port(secured: TlsService) -> None:
    def answered() -> set[float]:
        found = set()
        for _ in range(_ASKED):
            with secured.connect(secured.admin_port) as admin:
                text = admin.get("/metrics", headers=_headers(secured)).text
            lines = [
                line
                for line in text.splitlines()
                if line.startswith("driftline_requests_total") and '"predict"' in line
            ]
            found.add(sum(float(line.split()[-1]) for line in lines))
        return found

    for _ in range(_ASKED):  # new connections reach both workers
        verify = secured.files.context()
        with Client(secured.url, api_key=secured.key, verify=verify) as client:
            client.predict("tiny", [ROW])
    events = [record.event for record in secured.events()]
    logged = sum(isinstance(e, PredictionEvent) and e.protocol == "predict" for e in events)
    assert logged >= _ASKED
    secured.until(lambda: answered() == {logged})  # each worker tells a moment later


def test_models_are_unloaded_everywhere_through_the_admin_port(secured: TlsService) -> None:
    def statuses() -> set[int]:
        found = set()
        for _ in range(_ASKED):
            with secured.connect(secured.port) as client:
                found.add(client.get("/v2/models/tiny/ready").status_code)
        return found

    with secured.connect(secured.admin_port) as admin:
        for verb, status in (("unload", 503), ("load", 200)):
            path = f"/v2/repository/models/tiny/{verb}"
            assert admin.post(path, headers=_headers(secured)).status_code == 200
            secured.until(lambda: statuses() == {status})  # noqa: B023


def test_basic_credentials_are_not_accepted(secured: TlsService) -> None:
    pair = base64.b64encode(f"me:{secured.key}".encode()).decode()
    reply = secured.http.get("/v2", headers={"authorization": f"Basic {pair}"})
    assert reply.status_code == 401


def test_incomplete_handshakes_do_not_block_other_clients(secured: TlsService) -> None:
    with ExitStack() as held:
        for port in (secured.port, secured.admin_port):
            _half_handshakes(held, port)
            with secured.connect(port) as stranger:
                assert stranger.get("/livez").is_success
        halves = _half_handshakes(held, secured.grpc_port)
        if secured.grpc == "native":
            secured.call("ServerLive", [])
        else:  # grpc refuses the newest
            assert halves[-1].recv(1) == b""


def _half_handshakes(held: ExitStack, port: int) -> list[socket.socket]:
    """Open more than both workers may have, and leave them there."""
    address = ("127.0.0.1", port)
    halves = []
    for _ in range(2 * _CONNECTIONS + 40):
        half = held.enter_context(socket.create_connection(address, timeout=30))
        with suppress(ConnectionError):
            half.sendall(_HALF_HELLO)
        halves.append(half)
    return halves


def _shown(secured: TlsService, port: int) -> bytes:
    """The certificate that a port shows in a new handshake."""
    context = secured.files.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        found = wrapped.getpeercert(binary_form=True)
        assert found is not None
        if wrapped.selected_alpn_protocol() == "h2":  # grpc waits for it, even at its end
            wrapped.sendall(_PREFACE)
        return found


def test_a_renewed_certificate_is_shown_without_a_restart(secured: TlsService) -> None:
    ports = (secured.port, secured.grpc_port, secured.admin_port)
    before = {port: _shown(secured, port) for port in ports}
    secured.files.renew()
    # Each worker looks by itself, at most once a second.
    for port in ports:
        secured.until(
            lambda port=port: all(_shown(secured, port) != before[port] for _ in range(8))
        )  # type: ignore[misc]
    with Client(secured.url, api_key=secured.key, verify=secured.files.context()) as client:
        assert client.predict("tiny", [ROW]).labels == [1]
