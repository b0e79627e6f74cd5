"""Real reverse proxies: whatever one client sends, the next client gets its own reply."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from monitoring.web.server import serving
from tests.access import http1_table as http1

PATH = "/api/elsewhere"
NAMES = sorted(http1.table(PATH, b""))
SECOND = http1.HONEST.replace(b"first", b"second")

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_header_timeout 500ms; client_body_timeout 500ms; keepalive_timeout 500ms;
  proxy_connect_timeout 2s; proxy_read_timeout 5s; client_max_body_size 1m;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream behind {{ server {host}:{behind}; keepalive 1; }}
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Host $http_host; {more}
    }}
  }}
}}
"""
UPGRADES = (
    "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;"
)
HAPROXY = """
global
  maxconn 256
defaults
  mode http
  timeout connect 2s
  timeout client 500ms
  timeout server 5s
  timeout http-request 500ms
  timeout http-keep-alive 500ms
  http-reuse always
frontend front
  bind 127.0.0.1:{port}
  default_backend behind
backend behind
  server one {host}:{behind}
"""
# The proxy, what else it states, and where the server behind it listens.
PROXIES = {
    "nginx": (NGINX, "proxy_set_header Connection '';", "127.0.0.1"),
    "nginx that passes upgrades on": (NGINX, UPGRADES, "127.0.0.1"),
    "nginx that streams bodies": (
        NGINX,
        "proxy_set_header Connection ''; proxy_request_buffering off;",
        "::1",
    ),
    "haproxy": (HAPROXY, "", "::1"),
}
# A CONNECT has no content (RFC 9110, 9.3.6), whatever length it states: HAProxy reads what follows
# as the client's next request, in its own name.
ANOTHER_REQUEST = {("haproxy", "CONNECT"), ("haproxy", "h2c: CONNECT")}


class Front(NamedTuple):
    """A proxy with one connection to a server, which its clients share."""

    name: str
    address: tuple[str, int]
    echo: http1.Echo  # the server, and what it read


@pytest.fixture(scope="module", params=PROXIES)
def front(
    request: pytest.FixtureRequest,
    free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Front]:
    name = request.param.split()[0]
    program = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        pytest.skip(f"NO PROXY TRIED: no {name} on this machine")
    template, more, place = PROXIES[request.param]
    folder, port, echo = tmp_path_factory.mktemp(name), free_port(), http1.Echo()
    application: Any = echo
    with serving(application, place, 0) as url:
        host, _, behind = url.removeprefix("http://").rpartition(":")
        filled = template.format(folder=folder, port=port, host=host, behind=behind, more=more)
        configuration = folder / "configuration"
        configuration.write_text(filled.lstrip())
        option = ["-c"] if name == "nginx" else ["-db", "-f"]
        process = subprocess.Popen(
            [program, *option, configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _wait(port, process, folder)
            yield Front(name, ("127.0.0.1", port), echo)
        finally:
            process.terminate()
            process.wait(60)


def _wait(port: int, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, [file.read_text() for file in folder.glob("*.log")]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _send(address: tuple[str, int], data: bytes) -> bytes:
    """Return all that comes until the proxy closes; it closes what is not a whole request."""
    received = bytearray()
    with socket.create_connection(address, timeout=30) as line, suppress(ConnectionError):
        line.sendall(data)
        while piece := line.recv(65_536):
            received += piece
    return bytes(received)


def test_the_table_of_smuggled_requests(front: Front) -> None:
    """Each is followed by another client's request on the connection that both share."""
    url = f"http://{front.address[0]}:{front.address[1]}{PATH}"
    hidden = http1.hidden(PATH)
    for place, name in enumerate(NAMES):
        front.echo.bodies.clear()
        _send(front.address, http1.table(PATH, hidden)[name] + http1.second(PATH))
        if (front.name, name) not in ANOTHER_REQUEST:
            assert set(front.echo.bodies) <= {b"", hidden, SECOND}, name
        mine = json.dumps({"place": place, "name": name}).encode()
        reply = httpx.post(url, content=mine, trust_env=False)
        assert (name, reply.status_code, reply.content) == (name, 200, mine)
