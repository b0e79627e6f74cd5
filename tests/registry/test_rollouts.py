"""Rollouts: shares of routing keys, steps, start and end."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from eventlog.events import PredictionEvent
from registry.errors import RegistryConflict, UnknownVersion, VersionRefused
from registry.history.audit import EventCheck
from registry.history.rollout_state import Rollout, hash_key, position
from registry.history.rows import RolloutVerdict
from registry.history.store import History
from registry.manifest import Manifest, Signature, TensorSpec
from registry.rollouts import Rollouts, parse_steps, require_same_requests

STEPS = [0.05, 0.25, 1.0]


class Desk:
    """A model with versions 1 (champion), 2 and 3, and the changes of its rollouts."""

    def __init__(self, folder: Path) -> None:
        self.history = History(folder / "registry.db")
        self.now = 1_000_000
        self.rollouts = Rollouts(self.history, clock=lambda: self.now * 1_000)
        for number in "123":
            self.history.register("m", number, time=1, actor="ann", digest=f"d{number}")
        self.history.promote("m", "champion", "1", time=1, actor="ann")

    def start(self, number: str = "2") -> Rollout:
        self.rollouts.start("m", number, "champion", STEPS, bake_s=60, actor="bob", why="try it")
        return self.rollout

    @property
    def rollout(self) -> Rollout:
        return self.history.state("m").rollouts["champion"]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.history.close()


def test_a_rollout_advances_by_steps_and_ends_with_the_promotion(desk: Desk) -> None:
    started = desk.start()
    assert (started.number, started.before, started.share) == ("2", "1", 0.05)
    shares = []
    for _ in STEPS[1:]:
        desk.now += 1
        desk.rollouts.advance("m", "champion", actor="bob")
        shares.append(desk.rollout.share)
        assert desk.rollout.since == desk.now
    assert shares == STEPS[1:]
    with pytest.raises(VersionRefused, match="at its last step; driftline rollout promote"):
        desk.rollouts.advance("m", "champion", actor="bob")
    desk.rollouts.promote("m", "champion", actor="bob")
    assert (desk.rollout.phase, desk.rollout.share) == ("completed", 0.0)
    assert desk.history.aliases("m") == {"champion": "2"}


def test_a_paused_rollout_keeps_its_share_and_restarts_its_bake_time(desk: Desk) -> None:
    desk.start()
    desk.rollouts.pause("m", "champion", actor="bob")
    assert (desk.rollout.phase, desk.rollout.share) == ("paused", 0.05)
    with pytest.raises(VersionRefused, match="is paused; resume it first"):
        desk.rollouts.advance("m", "champion", actor="bob")
    desk.now += 5
    desk.rollouts.resume("m", "champion", actor="bob")
    assert (desk.rollout.phase, desk.rollout.since) == ("running", desk.now)


def test_an_aborted_version_is_barred_on_request(desk: Desk) -> None:
    desk.start()
    desk.rollouts.abort("m", "champion", actor="bob", why="later")
    assert desk.rollout.phase == "aborted"
    desk.start()
    desk.rollouts.abort("m", "champion", actor="bob", why="it is worse", bar=True)
    with pytest.raises(VersionRefused, match=r"was barred by bob in revision .*: it is worse"):
        desk.start()
    assert desk.start("3").number == "3"
    assert desk.history.aliases("m") == {"champion": "1"}


def test_a_verdict_and_its_effect_are_one_change(desk: Desk) -> None:
    started = desk.start()
    verdict = RolloutVerdict("roll back", 0, "errors", {"errors": [9, 50, 10, 1_000]})
    revision = desk.rollouts.abort(
        "m", "champion", actor="monitor", why="errors", bar=True, verdict=verdict,
        expected=started.id,
    )  # fmt: skip
    kinds = [row.kind for row in desk.history.rows("m")][-3:]
    assert kinds == ["verdict", "rollout_step", "barred"]
    assert desk.history.revision() == revision
    (row,) = desk.history.state("m").verdicts
    assert (row.evidence, row.decode(RolloutVerdict)) == (started.id, verdict)


def test_a_verdict_about_an_ended_rollout_changes_nothing(desk: Desk) -> None:
    started = desk.start()
    desk.rollouts.abort("m", "champion", actor="bob", why="later")
    with pytest.raises(UnknownVersion, match="no active rollout"):
        desk.rollouts.promote("m", "champion", actor="monitor", expected=started.id)
    desk.start("3")
    with pytest.raises(RegistryConflict, match=r"the active rollout is .*, started by bob"):
        desk.rollouts.promote("m", "champion", actor="monitor", expected=started.id)
    assert desk.history.aliases("m") == {"champion": "1"}


def test_an_unloaded_version_gets_no_further_share(desk: Desk) -> None:
    desk.start()
    desk.history.unload("m", "2", time=2, actor="ann")
    for change in (desk.rollouts.advance, desk.rollouts.promote):
        with pytest.raises(VersionRefused, match="version 2 of m is unloaded: load it first"):
            change("m", "champion", actor="monitor")
    assert desk.history.aliases("m") == {"champion": "1"}


def test_pointing_the_alias_elsewhere_supersedes_the_rollout(desk: Desk) -> None:
    desk.start()
    desk.history.promote("m", "champion", "3", time=2, actor="ann")
    assert desk.rollout.phase == "superseded"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("1", "champion of m is already version 1"),
        ("9", "has no version '9'; versions: 1, 2, 3"),
    ],
)
def test_a_rollout_needs_another_registered_version(desk: Desk, number: str, message: str) -> None:
    with pytest.raises((VersionRefused, UnknownVersion), match=message):
        desk.start(number)


def test_a_second_rollout_of_an_alias_is_refused(desk: Desk) -> None:
    desk.start()
    with pytest.raises(VersionRefused, match="bob already rolls out version 2, at 5%"):
        desk.start("3")


@pytest.mark.parametrize("text", ["", "0,5", "5,5", "50,25", "101", "5;25", "nan", "-1", "5,,25"])
def test_steps_must_be_increasing_percentages(text: str) -> None:
    with pytest.raises(VersionRefused, match="steps"):
        parse_steps(text)


def test_steps_are_percentages() -> None:
    assert parse_steps("0.1, 5%,100") == [0.001, 0.05, 1.0]


@given(st.text(), st.text(min_size=1, max_size=16), st.floats(0, 1), st.floats(0, 1))
def test_a_greater_share_removes_no_key(key: str, salt: str, one: float, other: float) -> None:
    at = position(hash_key(key, salt))
    assert 0 <= at <= 1
    assert not at < min(one, other) or at < max(one, other)


def test_shares_are_accurate_and_two_rollouts_are_independent() -> None:
    keys = [f"user-{n}" for n in range(200_000)]
    small = sum(position(hash_key(key, "a")) < 0.001 for key in keys)
    assert abs(small - 200) < 4 * 200**0.5
    sample = random.Random(1).sample(keys, 20_000)
    both = sum(
        position(hash_key(key, "a")) < 0.5 and position(hash_key(key, "b")) < 0.5 for key in sample
    )
    assert abs(both - 5_000) < 4 * (20_000 * 0.25 * 0.75) ** 0.5


def test_provisioning_does_not_change_rollouts_and_their_outcomes(desk: Desk) -> None:
    desk.history.provide_alias("m", "stable", "1", time=2, actor="make")
    desk.rollouts.start("m", "2", "stable", STEPS, bake_s=60, actor="bob")
    assert desk.history.provide_alias("m", "stable", "3", time=3, actor="make").number == "1"
    assert desk.history.state("m").rollouts["stable"].active
    desk.rollouts.abort("m", "stable", actor="bob", why="worse")
    assert desk.history.provide_alias("m", "stable", "2", time=3, actor="make").number == "1"


def test_events_of_a_rollout_agree_with_the_history(desk: Desk) -> None:
    started = desk.start()
    fields: Any = {"source": "s", "epoch": 1, "sequence": 0, "time": 0, "received": 0}
    event = PredictionEvent(
        **fields, prediction_id="p", model="m", protocol="rest", outcome="ok", version="2",
        alias="champion", revision=desk.history.revision(), rollout=started.id, arm="rollout",
    )  # fmt: skip
    check = EventCheck(desk.history.all_rows())
    assert check.fault(event) == ""
    for changes in ({"rollout": "another"}, {"version": "3"}, {"revision": event.revision - 1}):
        assert "points champion at it" in check.fault(replace(event, **changes))


def _manifest(**changes: list[TensorSpec]) -> Manifest:
    spec = [TensorSpec("x", "FP32", [-1, 2])]
    signature = {"inputs": spec, "outputs": [TensorSpec("y", "FP32", [-1])]} | changes
    return Manifest(task="regression", features=[], signature=Signature(**signature))


def test_versions_with_different_signatures_cannot_share_requests() -> None:
    y, z = TensorSpec("y", "FP32", [-1]), TensorSpec("z", "FP32", [-1])
    require_same_requests("m", _manifest(), _manifest(outputs=[z, y]))
    for changes, what in (
        ({"inputs": [z]}, r"inputs \(x, z\)"),
        ({"optional": [z]}, r"inputs \(z\)"),
        ({"outputs": [z]}, r"outputs \(y\)"),
    ):
        with pytest.raises(VersionRefused, match=f"differ in their {what}"):
            require_same_requests("m", _manifest(), _manifest(**changes))
