import asyncio
import datetime as dt
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from monitoring.errors import DeliveryFailed
from monitoring.webhooks.egress import Egress


def resolving_to(*addresses: str) -> Any:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return resolve


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://receiver.example/hook", "starts with http://"),
        ("ftp://receiver.example/hook", "starts with ftp://"),
        ("file:///etc/passwd", "names no host"),
        ("/hook", "names no host"),
        ("https://user:pass@receiver.example/", "user or password"),
        ("https://[::1", "not a valid URL"),
    ],
)
async def test_unusable_urls_are_refused(url: str, why: str) -> None:
    with pytest.raises(DeliveryFailed, match=why):
        await Egress(resolve=resolving_to("8.8.8.8")).check(url)


async def test_one_private_address_among_public_ones_refuses_the_host() -> None:
    guard = Egress(resolve=resolving_to("8.8.8.8", "10.0.0.5"))
    with pytest.raises(DeliveryFailed, match=r"resolves to 10\.0\.0\.5 \(private\)"):
        await guard.check("https://receiver.example/hook")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"]
)
async def test_every_spelling_of_loopback_is_refused(host: str) -> None:
    with pytest.raises(DeliveryFailed, match=r"loopback|inside IPv6|cannot be resolved|unspec"):
        await Egress().check(f"https://{host}/hook")


async def test_public_host_is_allowed_with_its_addresses() -> None:
    destination = await Egress(resolve=resolving_to("8.8.8.8")).check("https://receiver.example/x")
    assert destination.addresses == ("8.8.8.8",)


async def test_host_allowed_by_name_can_be_private_and_plain_http(letterbox: Any) -> None:
    answer = await Egress(["127.0.0.1"]).post(letterbox.url, {"x-mark": "1"}, b"{}")
    assert answer.status == 204
    headers, body = letterbox.received[0]
    assert (headers["x-mark"], body) == ("1", b"{}")


async def test_allowing_one_name_allows_no_other_name_of_the_same_host(letterbox: Any) -> None:
    with pytest.raises(DeliveryFailed):
        await Egress(["localhost"]).post(letterbox.url, {}, b"{}")
    assert letterbox.received == []


async def test_connection_uses_the_checked_address_and_the_host_header(
    letterbox: Any,
) -> None:
    port = port_of(letterbox.url)
    guard = Egress(["receiver.example"], resolve=resolving_to("127.0.0.1"))
    await guard.post(f"http://receiver.example:{port}/hook", {}, b"{}")
    assert letterbox.received[0][0]["host"] == f"receiver.example:{port}"


async def test_the_next_address_is_tried_when_one_accepts_no_connection(letterbox: Any) -> None:
    port = port_of(letterbox.url)
    guard = Egress(["receiver.example"], resolve=resolving_to("127.0.0.2", "127.0.0.1"))
    answer = await guard.post(f"http://receiver.example:{port}/hook", {}, b"{}")
    assert answer.status == 204


async def test_a_host_without_addresses_is_a_failed_delivery() -> None:
    guard = Egress(["receiver.example"], resolve=resolving_to())
    with pytest.raises(DeliveryFailed, match="no address"):
        await guard.post("http://receiver.example/hook", {}, b"{}")


async def test_redirect_is_returned_and_not_followed(letterbox: Any) -> None:
    letterbox.status, letterbox.headers = 302, {"location": letterbox.url}
    answer = await Egress(["127.0.0.1"]).post(letterbox.url, {}, b"{}")
    assert answer.status == 302
    assert len(letterbox.received) == 1


async def test_long_reply_is_truncated(letterbox: Any) -> None:
    letterbox.status, letterbox.body = 200, b"x" * 1_000_000
    answer = await Egress(["127.0.0.1"], max_reply=100).post(letterbox.url, {}, b"{}")
    assert answer.text == "x" * 100


async def test_receiver_that_never_replies_times_out(letterbox: Any) -> None:
    letterbox.hang = threading.Event()
    with pytest.raises(DeliveryFailed, match=r"within 0\.2 s"):
        await Egress(["127.0.0.1"], seconds=0.2).post(letterbox.url, {}, b"{}")


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_receiver_that_replies_byte_by_byte_times_out(reply: bytes) -> None:
    """Headers or a body that never end, sent byte by byte, so that no single wait is long."""
    sent_bytes = 0

    async def send_bytes(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent_bytes
        writer.write(reply)
        while not writer.is_closing():
            writer.write(b"x")
            sent_bytes += 1
            await asyncio.sleep(0.01)

    async with await asyncio.start_server(send_bytes, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(DeliveryFailed, match=r"within 0\.4 s"):
            await Egress(["127.0.0.1"], seconds=0.4).post(f"http://127.0.0.1:{port}/", {}, b"{}")
        server.close()
    assert sent_bytes > 3


async def test_resolver_that_never_replies_times_out() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    with pytest.raises(DeliveryFailed, match=r"within 0\.2 s"):
        await Egress(resolve=resolve, seconds=0.2).post("https://receiver.example/", {}, b"{}")


async def test_host_name_is_resolved_once(letterbox: Any) -> None:
    """The first address is checked and used; a second lookup would give an internal address."""
    answers = [["127.0.0.1"], ["10.0.0.5"]]

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return answers.pop(0)

    guard = Egress(["receiver.example"], resolve=resolve)
    await guard.post(f"http://receiver.example:{port_of(letterbox.url)}/hook", {}, b"{}")
    assert answers == [["10.0.0.5"]]
    assert len(letterbox.received) == 1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.5", "169.254.169.254", "100.64.0.1", "168.63.129.16", "::1", "fe80::1",
        "fd00:ec2::254", "::ffff:10.0.0.5", "2002:a00:5::1", "2001:0:1::1", "64:ff9b::a00:5",
        "2606:4700::5efe:10.0.0.5",
    ],
)  # fmt: skip
async def test_host_with_an_internal_address_is_refused_before_sending(address: str) -> None:
    guard = Egress(resolve=resolving_to(address))
    with pytest.raises(DeliveryFailed, match="resolves to"):
        await guard.post("https://receiver.example/hook", {}, b"{}")


async def test_proxies_of_the_environment_are_not_used(
    letterbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert (await Egress(["127.0.0.1"]).post(letterbox.url, {}, b"{}")).status == 204


def certificate(folder: Path, host: str) -> tuple[Path, ssl.SSLContext]:
    """Return a self-signed certificate for `host` and a server context that uses it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "receiver.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return file, context


async def test_tls_certificate_must_name_the_host(
    open_letterbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, tls = certificate(tmp_path, "receiver.example")
    port = port_of(open_letterbox(tls).url)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    hosts = ["receiver.example", "other.example"]
    guard = Egress(hosts, resolve=resolving_to("127.0.0.1"))
    assert (await guard.post(f"https://receiver.example:{port}/", {}, b"{}")).status == 204
    with pytest.raises(DeliveryFailed, match="certificate"):
        await guard.post(f"https://other.example:{port}/", {}, b"{}")
