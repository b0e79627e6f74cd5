"""API keys: creation, stored hash, scopes and expiry."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.errors import InvalidKey
from access.keys import PER_MODEL, Grant, Key, KeyRing, make_key, revoke_key

NOW = 1_000_000.0


def made(*scopes: str, expires: str = "", held: list[Key] | None = None) -> tuple[Key, bytes]:
    key, text = make_key(
        held or [],
        name="anna",
        scopes=list(scopes) or ["predict"],
        expires=expires,
        now=NOW,
    )
    return key, b"Bearer " + text.encode()


def test_only_the_hash_of_the_secret_is_stored() -> None:
    key, header = made()
    prefix, identity, secret = header.removeprefix(b"Bearer ").decode().split("_")
    assert (prefix, identity) == ("dl", key.id)
    assert len(bytes.fromhex(secret)) == 32
    assert key.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in repr(key)


def test_every_key_is_different() -> None:
    assert len({made()[1] for _ in range(100)}) == 100


@pytest.mark.parametrize("spelling", [b"Bearer ", b"bearer ", b"BEARER  "])
def test_a_valid_key_is_recognized_by_its_header(spelling: bytes) -> None:
    key, header = made("predict", "operate")
    grant = KeyRing([key], NOW).grant(spelling + header.removeprefix(b"Bearer "), NOW)
    assert grant == Grant(frozenset({"predict", "operate"}), actor=f"key:{key.name}")


@given(st.data())
def test_a_key_with_one_changed_byte_is_refused(data: st.DataObject) -> None:
    key, header = made()
    place = data.draw(st.integers(len(b"Bearer "), len(header) - 1))
    other = data.draw(st.integers(33, 255).filter(lambda byte: byte != header[place]))
    changed = header[:place] + bytes([other]) + header[place + 1 :]
    assert KeyRing([key], NOW).grant(changed, NOW) is None


@given(st.binary(max_size=200))
def test_every_header_is_accepted_or_refused_without_an_error(header: bytes) -> None:
    ring = KeyRing([made()[0]], NOW)
    assert ring.grant(header, NOW) is None
    assert ring.grant(b"Bearer " + header, NOW) is None


def test_a_key_ends_at_its_expiry() -> None:
    key, header = made(expires="2h")
    ring = KeyRing([key], NOW)
    assert ring.grant(header, NOW + 7_199) == Grant(
        frozenset({"predict"}), NOW + 7_200, f"key:{key.name}"
    )
    assert ring.grant(header, NOW + 7_200) is None
    assert KeyRing([key], NOW + 7_200).grant(header, NOW) is None


def test_a_revoked_key_has_no_scope() -> None:
    key, header = made()
    keys = revoke_key([key], key.id, NOW)
    assert KeyRing(keys, NOW).grant(header, NOW) is None
    with pytest.raises(InvalidKey, match="expected the id of a key that is not revoked"):
        revoke_key(keys, key.id, NOW)


def test_at_most_two_live_keys_share_a_name() -> None:
    first, _ = made()
    second, _ = made(held=[first])
    with pytest.raises(InvalidKey, match="anna has 2 live keys"):
        made(held=[first, second])
    made(held=revoke_key([first, second], first.id, NOW))


@pytest.mark.parametrize(
    ("held", "scope", "model", "allowed"),
    [
        ("predict", "predict", "a", True),
        ("predict", "predict", None, True),
        ("predict:a", "predict", "a", True),
        ("predict:a", "predict", "ab", False),
        ("predict:a", "predict", None, True),
        ("predict:a", "operate", None, False),
        ("predict", "read", None, False),
        ("read", "read", None, True),
        ("read", "predict", "a", False),
        ("read", "operate", None, False),
        ("operate", "read", None, True),
        ("operate", "operate", None, True),
        ("operate", "predict", "a", False),
        ("read", "any", None, True),
        *(
            (held, scope, model, allowed)
            for scope in PER_MODEL
            for held, model, allowed in (
                (scope, "a", True),
                (f"{scope}:a", "a", True),
                (f"{scope}:a", "ab", False),
                (f"{scope}:a", None, True),
                ("operate", "a", False),
            )
        ),
        ("admin", "approve", "a", False),
        ("approve", "promote", "a", False),
    ],
)
def test_a_scope_allows_only_its_own_actions(
    held: str, scope: str, model: str | None, allowed: bool
) -> None:
    assert Grant(frozenset({held})).allows(scope, model) is allowed  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "scope", ["", "any", "open", "Predict", "predict:", "predict:a b", "all", "read:a", "try:"]
)
def test_a_scope_that_does_not_exist_is_refused(scope: str) -> None:
    with pytest.raises(
        InvalidKey,
        match="expected predict, review, try, register, approve, promote, admin, read, operate",
    ):
        made(scope)


@pytest.mark.parametrize("span", ["90", "d", "-1d", "0d", "1.d", "90 d", "1y", "9999999d"])
def test_an_unreadable_expiry_is_refused(span: str) -> None:
    with pytest.raises(InvalidKey, match="a number and a unit"):
        made(expires=span)


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a" * 64, "a\n"])
def test_a_misleading_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidKey, match="letters"):
        make_key([], name=name, scopes=["read"], expires="", now=NOW)
