"""The authorizer: who is admitted, who is refused, and how soon changed keys apply."""

import logging

import pytest

from access.authorizer import REFRESH_S
from access.errors import Forbidden, Unauthenticated
from tests.access.key_store import Door


def test_without_keys_every_caller_has_every_scope_on_loopback() -> None:
    door = Door()
    door.admit("operate", None)
    door.admit("predict", b"Bearer whatever", "a")
    assert door.authorizer.is_open


def test_without_keys_no_caller_has_a_scope_beyond_loopback() -> None:
    door = Door(open_without_keys=False)
    with pytest.raises(Unauthenticated):
        door.admit("any", None)


@pytest.mark.parametrize("given", [None, b"", b"Bearer ", b"Bearer dl_0_0", b"Basic YTpi", b"\xff"])
def test_a_caller_without_a_valid_key_is_unauthenticated(given: bytes | None) -> None:
    door = Door()
    door.keys.add("operate")
    door.later()
    for _ in range(2):  # a refusal is not remembered as anything else
        with pytest.raises(Unauthenticated) as refusal:
            door.admit("any", given)
    assert str(refusal.value) == "expected a valid key: Authorization: Bearer dl_…"
    assert [type(error) for error in door.refusals] == [Unauthenticated] * 2


def test_a_valid_key_without_the_scope_is_refused_without_details() -> None:
    door = Door()
    header = door.keys.add("predict:a")
    door.later()
    door.admit("predict", header, "a")
    door.admit("predict", header)
    for scope, model in (("predict", "b"), ("operate", None), ("read", None)):
        with pytest.raises(Forbidden) as refusal:
            door.admit(scope, header, model)  # type: ignore[arg-type]
        assert str(refusal.value) == "this key does not allow this call"
    assert len(door.refusals) == 3


def test_the_first_key_ends_anonymous_access() -> None:
    door = Door()
    door.admit("any", None)
    header = door.keys.add("predict")
    door.later(REFRESH_S)
    with pytest.raises(Unauthenticated):
        door.admit("any", None)
    door.admit("predict", header, "a")


def test_a_revoked_key_is_refused_although_it_is_cached() -> None:
    door = Door()
    header = door.keys.add("predict")
    door.later()
    door.admit("predict", header, "a")
    door.keys.put([])
    door.later(REFRESH_S)
    with pytest.raises(Unauthenticated):
        door.admit("predict", header, "a")


def test_an_expired_key_is_refused_although_it_is_cached() -> None:
    door = Door()
    header = door.keys.add("predict", expires="1h")
    door.later()
    door.admit("predict", header, "a")
    door.later(3_600)
    with pytest.raises(Unauthenticated):
        door.admit("predict", header, "a")


def test_anonymous_access_stays_closed_after_the_key_file_is_removed() -> None:
    door = Door()
    door.keys.add("predict")
    door.later()
    with pytest.raises(Unauthenticated):
        door.admit("any", None)
    door.keys.put(None)
    door.later()
    with pytest.raises(Unauthenticated):
        door.admit("any", None)


def test_an_unreadable_key_file_keeps_the_previous_keys(caplog: pytest.LogCaptureFixture) -> None:
    door = Door()
    header = door.keys.add("predict")
    door.later()
    door.admit("predict", header, "a")
    door.keys.broken = True
    other = door.keys.add("predict", name="other")
    door.later()
    with caplog.at_level(logging.ERROR):
        door.admit("predict", header, "a")
    assert "cannot read the keys; the keys read before stay valid" in caplog.text
    with pytest.raises(Unauthenticated):
        door.admit("predict", other, "a")
    door.keys.broken = False
    door.later()
    door.admit("predict", other, "a")


def test_keys_are_read_once_per_change_and_checked_once_per_second() -> None:
    door = Door()
    header = door.keys.add("predict")
    for _ in range(1_000):
        door.admit("predict", header, "a") if door.now > 1_000_001 else None
        door.later(0.01)
    assert door.keys.reads == 1


def test_invalid_keys_do_not_fill_the_cache() -> None:
    door = Door()
    door.keys.add("predict")
    door.later()
    headers = [b"Bearer dl_%d_x" % number for number in range(5_000)]
    for header in headers:
        with pytest.raises(Unauthenticated):
            door.admit("any", header)
    assert not any(map(door.authorizer.actor_of, headers))


def test_spellings_of_a_valid_key_do_not_fill_the_cache() -> None:
    door = Door()
    header = door.keys.add("predict")
    door.later()
    spellings = [header + b" " * spaces for spaces in range(3_000)]
    for spelling in spellings:
        door.admit("any", spelling)
    assert 0 < sum(map(bool, map(door.authorizer.actor_of, spellings))) <= 1_024
