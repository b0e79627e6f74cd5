"""Tokens of an identity provider: validity, roles, key rotation and outages of the provider."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from access.errors import Forbidden, Unauthenticated
from access.oidc import OidcSettings, TokenVerifier, oidc_settings
from eventlog.errors import SettingError
from tests.access.key_store import Door
from tests.access.token_issuer import AUDIENCE, TokenIssuer, serving_issuer


@pytest.fixture
def issuer() -> Iterator[TokenIssuer]:
    with serving_issuer() as issuer:
        yield issuer


class Clock:
    """Real seconds, moved by hand."""

    def __init__(self) -> None:
        self.moved = 0.0

    def __call__(self) -> float:
        return time.time() + self.moved


def verifier(issuer: TokenIssuer, clock: Clock | None = None, **settings: Any) -> TokenVerifier:
    """Return a verifier that fetches at once, in the caller's thread."""
    stated = OidcSettings(
        issuer=issuer.issuer, audience=AUDIENCE, jwks_url=f"{issuer.issuer}/keys", **settings
    )
    return TokenVerifier(stated, clock=clock or Clock(), start=lambda fetch: fetch())


def unsigned(claims: dict[str, Any], header: dict[str, Any]) -> bytes:
    parts = (json.dumps(part).encode() for part in (header, claims))
    return b".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts), b""])


def test_a_token_states_subject_and_roles(issuer: TokenIssuer) -> None:
    found = verifier(issuer).verify(issuer.token(roles=["risk", "read"]))
    assert found is not None
    assert (found.subject, found.roles) == ("ann", {"risk", "read"})
    assert found.expires <= time.time() + 61, "a withdrawn key is noticed within a minute"


@pytest.mark.parametrize(
    ("claim", "path", "roles"),
    [
        ({"realm_access": {"roles": ["risk"]}}, "realm_access.roles", {"risk"}),
        ({"https://a.b/roles": ["risk"]}, "https://a.b/roles", {"risk"}),
        ({"scope": "risk other"}, "scope", {"risk", "other"}),
        ({"realm_access": "text"}, "realm_access.roles", set()),
        ({"groups": {"a": 1}}, "groups", set()),
        ({"groups": ["a", 1, None]}, "groups", {"a"}),
        ({}, "groups", set()),
    ],
)
def test_roles_are_read_from_the_configured_claim(
    issuer: TokenIssuer, claim: dict[str, Any], path: str, roles: set[str]
) -> None:
    found = verifier(issuer, roles_claim=path).verify(issuer.token(**claim))
    assert found is not None
    assert found.roles == roles


def test_elliptic_keys_are_accepted(issuer: TokenIssuer) -> None:
    issuer.keys = {"curve": ec.generate_private_key(ec.SECP256R1())}
    assert verifier(issuer).verify(issuer.token(algorithm="ES256")) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"},
        {"aud": ["a", "b"]},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": 1 << 40},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"kid": "unknown"},
        {"kid": None},
        {"roles": ["x" * 20_000]},
    ],
)
def test_other_tokens_are_refused(issuer: TokenIssuer, changes: dict[str, Any]) -> None:
    found = verifier(issuer)
    assert found.verify(issuer.token()) is not None
    assert found.verify(issuer.token(**changes)) is None


def test_the_key_determines_the_algorithm(issuer: TokenIssuer) -> None:
    found, now = verifier(issuer), int(time.time())
    claims = {"iss": issuer.issuer, "aud": AUDIENCE, "sub": "eve", "exp": now + 600}
    for algorithm in ("none", "None", "HS256"):
        assert found.verify(unsigned(claims, {"alg": algorithm, "kid": "first"})) is None
    good = issuer.token()
    head, _, signature = good.split(b".")
    forged = unsigned({**claims, "roles": ["admin"]}, {"alg": "RS256", "kid": "first"})
    assert found.verify(b".".join([head, forged.split(b".")[1], signature])) is None
    secret = base64.urlsafe_b64encode(issuer.public_pem()).decode()
    issuer.body = json.dumps({"keys": [{"kty": "oct", "kid": "first", "k": secret}]}).encode()
    symmetric = verifier(issuer)
    stolen = issuer.token(algorithm="HS256", key=base64.urlsafe_b64decode(secret)[:64] * 2)
    assert symmetric.verify(stolen) is None


@pytest.mark.parametrize("token", [b"", b"..", b"a.b.c", b"\xff.\xff.\xff", b"e30.e30.e30"])
def test_a_malformed_token_is_refused(issuer: TokenIssuer, token: bytes) -> None:
    assert verifier(issuer).verify(token) is None


def test_a_rotated_key_is_fetched_at_its_first_token_and_the_old_key_ends(
    issuer: TokenIssuer,
) -> None:
    clock = Clock()
    found, old = verifier(issuer, clock), issuer.token()
    assert found.verify(old) is not None
    issuer.rotate()
    clock.moved += 6
    assert found.verify(issuer.token()) is None, "no call waits for the provider"
    assert found.verify(issuer.token()) is not None
    assert found.verify(old) is None


def test_unknown_key_ids_do_not_flood_the_provider(issuer: TokenIssuer) -> None:
    clock = Clock()
    found = verifier(issuer, clock)
    for _ in range(50):
        assert found.verify(issuer.token(kid="unknown")) is None
    assert issuer.fetches == 1
    clock.moved += 6
    for _ in range(50):
        found.verify(issuer.token(kid="unknown"))
    assert issuer.fetches == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, None), (404, None), (200, b"<html>"), (200, b"[]"), (200, b'{"keys": []}'),
     (200, b'{"keys": 1}'), (200, b'{"keys": [1]}'), (200, b"x" * (2 << 20))],
)  # fmt: skip
def test_without_the_provider_known_keys_stay_valid_for_an_hour(
    issuer: TokenIssuer, status: int, body: bytes | None
) -> None:
    clock = Clock()
    found = verifier(issuer, clock, leeway_s=600)
    issuer.status, issuer.body = status, body
    clock.moved += 400  # a fetch is due
    assert found.verify(issuer.token()) is not None
    clock.moved += 3_600
    assert found.verify(issuer.token()) is None
    issuer.status, issuer.body = 200, None
    clock.moved += 10
    assert found.verify(issuer.token()) is not None


def test_a_service_starts_without_its_provider_and_accepts_keys(issuer: TokenIssuer) -> None:
    issuer.status = 503
    door = Door(tokens=verifier(issuer))
    key = door.keys.add("predict")
    door.later()
    door.admit("predict", key, "a")
    with pytest.raises(Unauthenticated):
        door.admit("any", b"Bearer " + issuer.token())


def test_a_token_has_the_scopes_of_its_roles(issuer: TokenIssuer) -> None:
    door = Door(tokens=verifier(issuer))
    with pytest.raises(Unauthenticated):
        door.admit("any", None)  # although no key exists, on loopback
    door.keys.of_roles = {"risk": ["approve:taxi", "read"]}
    door.keys.put([])
    door.now = time.time()
    token = b"Bearer " + issuer.token(roles=["risk", "unknown"])
    door.admit("approve", token, "taxi")
    assert door.authorizer.actor_of(token) == "oidc:ann"
    grant = door.authorizer.grant_of(token)
    assert grant is not None
    assert grant.roles == {"risk", "unknown"}
    for scope, model in (("approve", "bus"), ("promote", "taxi"), ("operate", None)):
        with pytest.raises(Forbidden):
            door.admit(scope, token, model)  # type: ignore[arg-type]
    door.keys.of_roles = {"risk": ["read"]}
    door.keys.put([])
    door.later()
    with pytest.raises(Forbidden):
        door.admit("approve", token, "taxi")


def test_a_withdrawn_key_ends_cached_tokens(issuer: TokenIssuer) -> None:
    clock = Clock()
    door = Door(tokens=verifier(issuer, clock))
    door.keys.of_roles = {"risk": ["read"]}
    door.keys.put([])
    door.now = time.time()
    token = b"Bearer " + issuer.token()
    door.admit("read", token)
    issuer.rotate()
    clock.moved += 301  # a fetch is due
    door.admit("read", token)
    door.later(61)
    with pytest.raises(Unauthenticated):
        door.admit("read", token)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ISSUER": "https://a"}, "expected DRIFTLINE_OIDC_AUDIENCE, DRIFTLINE_OIDC_JWKS_URL too"),
        (
            {"ISSUER": "a", "AUDIENCE": "b", "JWKS_URL": "http://a.example/keys"},
            "expected https://",
        ),
        ({"ISSUER": "a", "AUDIENCE": "b", "JWKS_URL": "file:///etc/passwd"}, "expected https://"),
        ({"ISSUER": "a", "AUDIENCE": "b", "JWKS_URL": "https://"}, "expected https://"),
        ({"LEEWAY_S": "-1"}, "DRIFTLINE_OIDC_"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, str], said: str) -> None:
    environ = {f"DRIFTLINE_OIDC_{name}": value for name, value in settings.items()}
    with pytest.raises(SettingError, match=said):
        oidc_settings(environ)
    assert oidc_settings({}) is None
