"""Clients for REST and gRPC; for TLS, they trust the certificates in SSL_CERT_FILE."""

import os
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import gevent
import gevent.ssl
import grpc.experimental.gevent
import msgspec
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError

from loadtests.payloads import Payload

INFER = "/inference.GRPCInferenceService/ModelInfer"
_TIMEOUT = 30.0  # seconds until a request fails
_JSON = {"content-type": "application/json"}
_REFUSED = {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}


class RequestRefused(Exception):
    """The service refused the request because it is overloaded."""


class RequestFailed(Exception):
    """The service returned another error, or no response."""


class _Parameters(msgspec.Struct):
    prediction_id: str


class _Answer(msgspec.Struct):
    parameters: _Parameters


_answer = msgspec.json.Decoder(_Answer)


class Rest:
    """One connection to the REST port.

    Methods that send raise RequestRefused or RequestFailed.
    """

    def __init__(self, url: str, model: str, version: str) -> None:
        """Prepare requests to `version`, a number or an alias; "" means the champion."""
        self._client = HTTPClient.from_url(
            url,
            connection_timeout=_TIMEOUT,
            network_timeout=_TIMEOUT,
            ssl_context_factory=gevent.ssl.create_default_context,
        )
        self._path = f"/v2/models/{model}{f'/versions/{version}' if version else ''}/infer"
        self._key = {"authorization": bearer} if (bearer := _bearer()) else {}

    def json(self, payload: Payload) -> bytes:
        """Send tensors as JSON; return the response body."""
        return self._post(self._path, payload.json, _JSON)

    def binary(self, payload: Payload) -> bytes:
        """Send and receive tensors by the binary data extension; return the response body."""
        length = {"inference-header-content-length": str(payload.binary_json_length)}
        return self._post(self._path, payload.binary, length)

    def send_label(self, answer: bytes, payload: Payload, *, monitored: bool) -> bytes:
        """Send the payload's label as feedback; `answer` is the response body of `json`."""
        body = {
            "prediction_id": _answer.decode(answer).parameters.prediction_id,
            "label": payload.label,
            "load_test": not monitored,
        }
        return self._post("/v1/feedback", msgspec.json.encode(body), _JSON)

    def ready(self) -> bool:
        """Return whether the service is reachable and ready."""
        try:
            return bool(self._client.get("/v2/health/ready").status_code == 200)
        except (OSError, HTTPParseError, gevent.Timeout):
            return False

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        try:
            reply = self._client.post(path, body, {**headers, **self._key})
            answer = bytes(reply.read())
        except (OSError, HTTPParseError, gevent.Timeout) as error:
            raise RequestFailed(f"{type(error).__name__}: {error}") from None
        if reply.status_code in {429, 503}:
            raise RequestRefused(answer.decode(errors="replace"))
        if reply.status_code != 200:
            raise RequestFailed(f"{reply.status_code}: {answer.decode(errors='replace')}")
        return answer


class Grpc:
    """One channel to the gRPC port; `target` is host:port, `secure` selects TLS."""

    def __init__(self, target: str, *, secure: bool) -> None:
        _yield_to_gevent()
        # By default, channels to the same target share a connection; each user needs its own.
        options = [("grpc.use_local_subchannel_pool", 1)]
        if secure:
            roots = os.environ.get("SSL_CERT_FILE")
            credentials = grpc.ssl_channel_credentials(Path(roots).read_bytes() if roots else None)
            self._channel = grpc.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._infer = self._channel.unary_unary(INFER)
        self._metadata = (("authorization", bearer),) if (bearer := _bearer()) else ()

    def infer(self, payload: Payload) -> bytes:
        """Send raw tensors; return the response. Raises RequestRefused or RequestFailed."""
        try:
            return bytes(self._infer(payload.grpc, timeout=_TIMEOUT, metadata=self._metadata))
        except grpc.RpcError as error:
            kind = RequestRefused if error.code() in _REFUSED else RequestFailed
            raise kind(f"{error.code().name}: {error.details()}") from None

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


@cache
def _yield_to_gevent() -> None:
    """Make gRPC use gevent; call after locust has forked, before the first channel is opened."""
    grpc.experimental.gevent.init_gevent()


def is_secure(url: str) -> bool:
    """Return whether the URL uses TLS."""
    return urlsplit(url).scheme == "https"


def _bearer() -> str:
    key = os.environ.get("DRIFTLINE_API_KEY", "")
    return f"Bearer {key}" if key else ""
