"""Guard that posts webhooks only to allowed addresses.

The addresses of a host name are checked, and the connection is made to a checked address, so a
changed DNS record cannot redirect it. Redirects are not followed, and proxies of the environment
are not used. The size of the response and the duration of the exchange are limited.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import httpx
import msgspec

from monitoring.errors import DeliveryFailed
from monitoring.webhooks.addresses import why_refused

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]  # (host, port) -> IP addresses


class Destination(msgspec.Struct, frozen=True):
    """A checked webhook address."""

    url: httpx.URL
    addresses: Sequence[str]  # the only IP addresses to which a connection may be made


class HttpResponse(msgspec.Struct, frozen=True):
    """The receiver's response."""

    status: int
    retry_after: str | None  # value of the header Retry-After
    text: str  # start of the body, at most `max_reply` bytes


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return a host's IP addresses in the order of this machine's resolver."""
    addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in addresses))


class Egress:
    """Guard of outgoing webhooks.

    `allowed_hosts` are host names or IP addresses that may use http and may be private. `seconds`
    limits the duration of a whole exchange, and `max_reply` the bytes of the response.
    """

    def __init__(
        self,
        allowed_hosts: Collection[str] = (),
        *,
        resolve: Resolve = resolve,
        seconds: float = 15.0,
        max_reply: int = 4_096,
    ) -> None:
        self._allowed = _allowed(allowed_hosts)
        self._resolve = resolve
        self._seconds = seconds
        self._max_reply = max_reply
        # SSL_CERT_FILE and SSL_CERT_DIR are used, so that a company's own certificate authority is
        # trusted. Proxies of the environment are not used, because they would bypass the check.
        self._tls = httpx.create_ssl_context(trust_env=True)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpResponse:
        """Post once, to the first checked address that accepts a connection.

        Raises:
            DeliveryFailed: the address is not allowed, cannot be reached, or takes too long.
        """
        try:
            async with asyncio.timeout(self._seconds):
                destination = await self.check(url)
                return await self._post(destination, headers, body)
        except TimeoutError:
            raise DeliveryFailed(f"no complete answer within {self._seconds:g} s") from None
        except (httpx.HTTPError, OSError) as error:
            raise DeliveryFailed(f"{type(error).__name__}: {error}") from None

    async def check(self, url: str) -> Destination:
        """Resolve and check `url`.

        Raises:
            DeliveryFailed: the address is not allowed or cannot be resolved.
        """
        parsed = check_address(url, self._allowed)
        host = parsed.raw_host.decode().lower()
        allowed = host in self._allowed
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise DeliveryFailed(f"host {host} cannot be resolved: {error}") from None
        for address in () if allowed else addresses:
            if reason := why_refused(address):
                raise DeliveryFailed(
                    f"host {host} resolves to {address} ({reason}); expected a public address, "
                    "or the host named among the allowed hosts"
                )
        return Destination(parsed, addresses)

    async def _post(
        self, destination: Destination, headers: Mapping[str, str], body: bytes
    ) -> HttpResponse:
        failure = httpx.ConnectError("host resolves to no address")
        async with self._client() as client:
            for address in destination.addresses:
                try:
                    return await self._post_to(client, address, destination.url, headers, body)
                except httpx.ConnectError as error:
                    failure = error
        raise failure

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(trust_env=False, verify=self._tls, timeout=self._seconds)

    async def _post_to(
        self,
        client: httpx.AsyncClient,
        address: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        body: bytes,
    ) -> HttpResponse:
        request = client.stream(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers={
                **headers,
                "host": url.netloc.decode(),
                # A small compressed response could decompress to a large one.
                "accept-encoding": "identity",
                "user-agent": "driftline",
            },
            extensions={"sni_hostname": url.raw_host.decode()},
        )
        async with request as response:
            start = b""
            async for chunk in response.aiter_raw(self._max_reply):
                start += chunk
                if len(start) >= self._max_reply:
                    break
        text = start[: self._max_reply].decode(errors="replace")
        return HttpResponse(response.status_code, response.headers.get("retry-after"), text)


def check_address(url: str, allowed_hosts: Collection[str]) -> httpx.URL:
    """Return the parsed webhook address; the host name is not resolved.

    Raises:
        DeliveryFailed: the address is invalid or not allowed.
    """
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode().lower()
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise DeliveryFailed(f"webhook address is not a valid URL: {error}") from None
    _refuse_unsafe(parsed, allowed=host in _allowed(allowed_hosts))
    return parsed


def _allowed(hosts: Collection[str]) -> set[str]:
    return {host.strip().strip("[]").lower() for host in hosts}


def _refuse_unsafe(url: httpx.URL, *, allowed: bool) -> None:
    if not url.host:
        raise DeliveryFailed(f"webhook address {str(url)!r} names no host; expected https://...")
    if url.port is not None and not 0 < url.port < 1 << 16:
        raise DeliveryFailed(f"webhook address has port {url.port}; expected 1 to 65535")
    if url.userinfo:
        raise DeliveryFailed("webhook address contains a user or password; expected none")
    expected = ("https", "http") if allowed else ("https",)
    if url.scheme not in expected:
        raise DeliveryFailed(
            f"webhook address starts with {url.scheme}://; expected https://, "
            "or http:// with the host named among the allowed hosts"
        )
