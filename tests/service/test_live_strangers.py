"""Access by pages of other sites to a service without keys or with only client certificates."""

import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import httpx
import pytest

from service.protocol import open_inference_pb2 as pb
from tests.access.certificates import Certificates
from tests.monitoring.web.browser import Browser, browsing
from tests.monitoring.web.test_web_in_a_browser import QUIET
from tests.service.conftest import Service

BODY = {
    "inputs": [
        {"name": "price", "datatype": "FP32", "shape": [1, 1], "data": [0.5]},
        {"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": ["red"]},
    ]
}
ROWS = {"model": "tiny", "rows": [{"price": 0.5, "colour": "red"}]}
ROUTES: list[tuple[str, str, Any]] = [
    ("POST", "/v2/models/tiny/infer", BODY),
    ("POST", "/v2/models/tiny/versions/1/infer", BODY),
    ("POST", "/predict", ROWS),
    ("POST", "/v1/feedback", [{"prediction_id": "x-0", "row": 0, "label": 1}]),
    ("GET", "/v2", None),
    ("GET", "/v2/models/tiny", None),
    ("POST", "/v2/repository/index", {}),
    ("POST", "/v2/repository/models/tiny/unload", {}),
    ("GET", "/v2/models/stats", None),
    ("GET", "/metrics", None),
    ("GET", "/", None),
    ("GET", "/docs.json", None),
    ("GET", "/schema.json", None),
    ("GET", "/static_content/index.css", None),
    ("GET", "/nothing", None),
]
PROBES = ["/livez", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"]
FOREIGN = [
    {"host": "evil.example"},
    {"host": "evil.example", "origin": "http://evil.example"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
]
ADMIN = ("/v2/repository", "/v2/models/stats", "/metrics", "/docs.json", "/schema.json", "/static")


class CertifiedService(Service):
    """A service whose callers show a certificate and no key, with a port for operators."""

    def __init__(self, root: Any, free_port: Callable[[], int]) -> None:
        self.files = Certificates(root / "certificates")
        certificate, key = self.files.server
        self.admin_port = free_port()
        super().__init__(
            root,
            free_port,
            grpc="aio",
            admin_port=str(self.admin_port),
            tls_certificate=certificate,
            tls_key=key,
            tls_client_ca=str(self.files.authority),
            allowed_hosts="models.example.org",
        )
        self.url = f"https://127.0.0.1:{self.port}"
        self.http = self.connect(self.port)
        self.admin = self.connect(self.admin_port)

    def connect(self, port: int) -> httpx.Client:
        url = f"https://127.0.0.1:{port}"
        return httpx.Client(base_url=url, verify=self.files.context(), trust_env=False, timeout=30)


@pytest.fixture(scope="module")
def certified(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[CertifiedService]:
    root = tmp_path_factory.mktemp("certified")
    with CertifiedService(root, free_port) as service:
        service.start_champion()
        yield service


def _ask(client: httpx.Client, route: tuple[str, str, Any], headers: dict[str, str]) -> int:
    method, path, body = route
    return client.request(method, path, json=body, headers=headers).status_code


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_a_page_of_another_origin_gets_nothing(
    service: Service, route: tuple[str, str, Any], headers: dict[str, str]
) -> None:
    before = len(service.events())
    assert _ask(service.http, route, headers) == (421 if "host" in headers else 403)
    assert len(service.events()) == before
    assert service.http.get("/v2/models/tiny/ready").is_success


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_a_certificate_that_a_browser_shows_changes_nothing(
    certified: CertifiedService, route: tuple[str, str, Any], headers: dict[str, str]
) -> None:
    admin = route[1] == "/" or route[1].startswith(ADMIN)
    client = certified.admin if admin else certified.http
    assert _ask(client, route, headers) == (421 if "host" in headers else 403)


@pytest.fixture(scope="module")
def page_of_another_site() -> Iterator[str]:
    """A page at evil.example, a name that the browser is made to resolve to this machine."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<h1>evil</h1>")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://evil.example:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("NO PAGE OF ANOTHER SITE TRIED: no chromium on this machine")
    options = [*QUIET, "--host-resolver-rules=MAP evil.example 127.0.0.1"]
    with browsing(chromium, options, tmp_path_factory.mktemp("profile") / "it") as opened:
        yield opened


def test_a_browser_page_of_another_origin_cannot_operate(
    service: Service, browser: Browser, page_of_another_site: str
) -> None:
    """What the page asks without reading the reply, which a browser allows any page to ask."""
    browser.show(page_of_another_site, 800)
    unload = f"{service.url}/v2/repository/models/tiny/unload"
    asked = (
        f"fetch('{unload}', {{method: 'POST', mode: 'no-cors', body: '{{}}'}}).then(r => r.type)"
    )
    assert browser.ask(asked) == "opaque", "the request left the browser and was answered"
    assert service.http.get("/v2/models/tiny/ready").is_success
    predict = f"{service.url}/v2/models/tiny/infer"
    before = len(service.events())
    browser.ask(
        f"fetch('{predict}', {{method: 'POST', mode: 'no-cors', body: '{{}}'}}).then(() => 1)"
    )
    assert len(service.events()) == before


def test_a_rebound_name_reads_nothing_in_a_browser(service: Service, browser: Browser) -> None:
    browser.show(f"http://evil.example:{service.port}/metrics", 800)
    said = browser.ask("document.body.innerText")
    assert "DRIFTLINE_SERVICE_ALLOWED_HOSTS" in said
    assert "driftline_" not in said
    ask = "fetch('/v2/models/tiny').then(reply => reply.status)"
    assert browser.ask(ask) == 421
    browser.show(f"http://localhost:{service.port}/metrics", 800)
    assert "driftline_" in browser.ask("document.body.innerText")
    assert browser.ask(ask) == 200


@pytest.mark.parametrize("path", PROBES)
def test_probes_call_by_any_name(service: Service, path: str) -> None:
    for host in ("evil.example", "10.1.2.3:3000", "[fd00::1]:3000", "driftline.svc"):
        assert service.http.get(path, headers={"host": host}).is_success


@pytest.mark.parametrize("host", ["localhost:1", "10.1.2.3:3000", "[::1]:3000", "127.0.0.1"])
def test_own_names_and_addresses_are_answered(service: Service, host: str) -> None:
    for route in (ROUTES[0], ROUTES[2], ("GET", "/metrics", None)):
        assert _ask(service.http, route, {"host": host}) == 200
    same = {"host": host, "origin": f"http://{host}"}
    assert _ask(service.http, ROUTES[2], same) == 200


def test_a_configured_name_is_answered(certified: CertifiedService) -> None:
    headers = {"host": "models.example.org", "origin": "https://models.example.org"}
    assert _ask(certified.http, ROUTES[0], headers) == 200
    assert _ask(certified.admin, ("GET", "/metrics", None), headers) == 200


def _call(channel: grpc.Channel, name: str, request: Any, **metadata: str) -> grpc.StatusCode:
    method = channel.unary_unary(
        f"/inference.GRPCInferenceService/{name}",
        request_serializer=lambda message: message.SerializeToString(),
    )
    stated = tuple((key.replace("_", "-"), value) for key, value in metadata.items())
    try:
        method(request, metadata=stated, timeout=30)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def _check_grpc(channel: grpc.Channel) -> None:
    unload = pb.RepositoryModelUnloadRequest(model_name="tiny")
    foreign = {"origin": "http://evil.example"}
    denied = grpc.StatusCode.PERMISSION_DENIED
    assert _call(channel, "RepositoryModelUnload", unload, **foreign) == denied
    assert _call(channel, "ServerMetadata", pb.ServerMetadataRequest(), **foreign) == denied
    assert (
        _call(channel, "ModelInfer", pb.ModelInferRequest(model_name="tiny"), **foreign) == denied
    )
    ready = pb.ModelReadyRequest(name="tiny")
    assert _call(channel, "ModelReady", ready, **foreign) == grpc.StatusCode.OK
    assert _call(channel, "ServerMetadata", pb.ServerMetadataRequest()) == grpc.StatusCode.OK


def test_a_browsers_origin_is_refused_by_the_native_grpc_server(service: Service) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        _check_grpc(channel)


def test_a_browsers_origin_is_refused_by_grpcs_own_server(certified: CertifiedService) -> None:
    pair = [open(path, "rb").read() for path in certified.files.client]  # noqa: PTH123, SIM115
    credentials = grpc.ssl_channel_credentials(
        certified.files.authority.read_bytes(), private_key=pair[1], certificate_chain=pair[0]
    )
    with grpc.secure_channel(f"127.0.0.1:{certified.grpc_port}", credentials) as channel:
        _check_grpc(channel)


def test_files_of_the_service_are_private_to_its_user(service: Service) -> None:
    assert _ask(service.http, ROUTES[0], {}) == 200
    places = [service.home.root, *service.home.root.rglob("*")]
    assert len(places) > 10
    open_to_others = {str(place) for place in places if place.lstat().st_mode & 0o077}
    assert open_to_others == set()


@pytest.mark.parametrize("path", ["/v2/models/none/ready", "/v2/models/tiny/versions/9/ready"])
def test_readiness_reveals_no_names(service: Service, path: str) -> None:
    reply = service.http.get(path)
    assert reply.status_code == 404
    known = "no such version or alias" if "tiny" in path else "no such model"
    assert reply.json() == {"error": known}
