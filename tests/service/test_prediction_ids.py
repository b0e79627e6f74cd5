"""Prediction ids name their model, cannot be forged, and survive a rotation of secrets."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.errors import Forbidden
from access.keys import Grant
from eventlog.errors import SettingError
from eventlog.settings import Home
from eventlog.shards import SHARDS, shard_of, tag_of
from service.auth.id_secrets import FILE, id_secrets
from service.auth.label_scope import LabelScope
from service.errors import InvalidRequest
from service.protocol.prediction_ids import PredictionIds, prediction_id_of

KEY, OTHER = b"k" * 32, b"o" * 32
ONE = PredictionIds([KEY], "5e0c3b9a11d2")
ANY = LabelScope.of(None, unverified=True)


def test_the_form_of_an_id_never_changes() -> None:
    """A golden value: clients and logs hold ids, so their form never changes."""
    assert tag_of("flights") == "820ac31a93"
    assert shard_of("flights") == "820"
    assert PredictionIds([KEY], "5e0c3b9a11d2").new("flights") == (
        "820ac31a93-5e0c3b9a11d2-0-ae82d6952fd4"
    )
    assert prediction_id_of("flights", "booking-17") == (
        "820ac31a93-own-d40da19030d7151ed7a33c2eef7605ee"
    )


@given(st.text(min_size=1, max_size=200))
def test_every_created_id_names_its_model(model: str) -> None:
    assert ONE.tag(ONE.new(model)) == tag_of(model)
    assert ONE.tag(prediction_id_of(model, "mine")) == tag_of(model)
    assert 0 <= int(shard_of(model), 16) < SHARDS


CREATED = ONE.new("flights")  # one id for all examples, because its counter makes ids longer


@given(st.integers(0, len(CREATED) - 1), st.characters(), st.text(max_size=128))
def test_a_changed_id_is_not_recognized(place: int, character: str, text: str) -> None:
    changed = CREATED[:place] + character + CREATED[place + 1 :]
    assert changed == CREATED or ONE.tag(changed) is None
    assert ONE.tag(text) is None


def test_foreign_ids_and_ids_of_earlier_releases_are_not_recognized() -> None:
    earlier = ["5e0c3b9a11d2-1f", "own-" + "0" * 32, "", "p", f"{tag_of('m')}-a-0-" + "0" * 12]
    assert [ONE.tag(one) for one in earlier] == [None] * len(earlier)
    assert ONE.tag(PredictionIds([OTHER]).new("flights")) is None


def test_a_new_secret_signs_and_the_previous_secret_still_verifies() -> None:
    rotated = PredictionIds([OTHER, KEY])
    assert rotated.tag(ONE.new("flights")) == tag_of("flights")
    assert ONE.tag(rotated.new("flights")) is None
    assert PredictionIds([OTHER]).tag(rotated.new("flights")) == tag_of("flights")


def test_a_key_labels_predictions_of_models_in_its_scope() -> None:
    flights, fraud = ONE.new("flights"), ONE.new("fraud")
    own = prediction_id_of("flights", "booking-17")
    every = LabelScope.of(Grant(frozenset({"predict"}), actor="key:all"), unverified=True)
    few = LabelScope.of(
        Grant(frozenset({"predict:flights", "read"}), actor="key:few"), unverified=True
    )
    assert (every.actor, few.actor, ANY.actor) == ("key:all", "key:few", "")
    for scope in (ANY, every):
        assert scope.verify([flights, fraud, own, "old-1"], ONE.tag) == {flights, fraud, own}
    assert few.verify([flights, flights, own], ONE.tag) == {flights, own}
    read = ONE.new("read")  # a model whose name is that of a scope
    for foreign in (fraud, read, "old-1", prediction_id_of("fraud", "booking-17"), flights[:-1]):
        with pytest.raises(Forbidden, match="does not allow a label of prediction"):
            few.verify([flights, foreign], ONE.tag)


def test_unverified_ids_can_be_refused() -> None:
    for grant in (None, Grant(frozenset({"predict"}))):
        scope = LabelScope.of(grant, unverified=False)
        assert scope.verify([one := ONE.new("m")], ONE.tag) == {one}
        with pytest.raises(InvalidRequest, match=r"prediction_id old-1: expected .*=accept"):
            scope.verify(["old-1"], ONE.tag)


def test_the_first_start_creates_a_secret_in_the_home(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    (made,) = id_secrets(home, "", "X")
    assert len(made) == 64
    assert id_secrets(home, "", "X") == [made]
    assert stat.S_IMODE((home.root / FILE).stat().st_mode) == 0o600
    (home.root / FILE).write_text(f"{'n' * 32}\n{made.decode()}\n")
    assert id_secrets(home, "", "X") == [b"n" * 32, made]
    assert id_secrets(home, f"{'e' * 16}, {'f' * 16}", "X") == [b"e" * 16, b"f" * 16]


@pytest.mark.parametrize(
    ("stated", "content", "message"),
    [
        ("short", b"", r"X: secret 1 has 5 characters; expected at least 16"),
        (",", b"", r"X: expected 1 to 16 secrets, got 0"),
        ("", b"n" * 20 + b"\nshort", r"prediction-id-secrets: secret 2 has 5 characters"),
        ("", b"\n", r"expected 1 to 16 secrets, got 0"),
        ("", b"\xff" * 20, r"expected one secret per line, in UTF-8"),
    ],
)
def test_bad_secrets_are_refused_at_start(
    tmp_path: Path, stated: str, content: bytes, message: str
) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(SettingError, match=message):
        id_secrets(Home(tmp_path), stated, "X")


def test_a_symbolic_link_is_not_accepted_as_secret_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("n" * 32)
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingError, match=FILE):
        id_secrets(Home(tmp_path), "", "X")
