"""An OpenID Connect provider on loopback: it publishes keys, rotates them, and signs tokens."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "driftline"
_KEYS = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]


class TokenIssuer:
    """The provider; `keys` are published, `body` replaces what is published."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"first": _KEYS[0]}
        self.body: bytes | None = None
        self.status = 200
        self.fetches = 0
        self.issuer = ""

    def rotate(self) -> None:
        """Replace the published key."""
        self.keys = {"second": _KEYS[1]}

    def token(self, **changes: Any) -> bytes:
        """Return a token; `kid`, `algorithm` and `key` are of its signature, others are claims."""
        kid = changes.pop("kid", next(iter(self.keys)))
        algorithm = changes.pop("algorithm", "RS256")
        key = changes.pop("key", self.keys.get(kid, _KEYS[0]))
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "ann",
            "exp": int(time.time()) + 600,
            "roles": ["risk"],
        }
        claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        headers = {} if kid is None else {"kid": kid}
        return jwt.encode(claims, key, algorithm=algorithm, headers=headers).encode()

    def public_pem(self) -> bytes:
        """Return the published key as text, which an attacker could use as a secret."""
        return (
            _KEYS[0]
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def published(self) -> bytes:
        """Return the JWKS."""
        if self.body is not None:
            return self.body
        found = []
        for kid, key in self.keys.items():
            elliptic = isinstance(key, ec.EllipticCurvePrivateKey)
            algorithm = ECAlgorithm if elliptic else RSAAlgorithm
            jwk = json.loads(algorithm.to_jwk(key.public_key()))
            found.append({**jwk, "kid": kid, "use": "sig"})
        return json.dumps({"keys": found}).encode()


@contextmanager
def serving_issuer() -> Iterator[TokenIssuer]:
    """Serve a provider while the block runs."""
    issuer = TokenIssuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.fetches += 1
            body = issuer.published()
            self.send_response(issuer.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
