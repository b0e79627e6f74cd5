"""`driftline request`, `approve`, `reject` and `release-policy` as people type them."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline import approvals
from driftline.cli import driftline
from eventlog.settings import Home
from registry.errors import InvalidPolicy, UnknownVersion, VersionRefused
from registry.history.rows import GateResult, HistoryRow, encode_detail
from registry.history.store import History

POLICY = "approvals: {champion: {required: 1, from: [risk]}}\n"


class Desk:
    """People at one registry, with versions 1 to 3 of a model, registered by ann."""

    def __init__(self, home: Home, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.history = History(home.registry)
        for number in ("1", "2", "3"):
            self.history.register("taxi", number, time=0, actor="ann", digest=f"d{number}")
        self._folder = folder
        self._patch = patch

    def run(self, actor: str, *arguments: str, groups: tuple[str, ...] = ("risk",)) -> Result:
        self._patch.setattr(approvals, "_user", lambda: actor)
        self._patch.setattr(approvals, "_groups", lambda: list(groups))
        return CliRunner().invoke(driftline, arguments)

    def policy(self, text: str = POLICY) -> Result:
        (self._folder / "policy.yaml").write_text(text)
        file = str(self._folder / "policy.yaml")
        return self.run("rik", "release-policy", "taxi", "--file", file, "--why", "audit")

    def request(self, number: str = "2", actor: str = "cyd") -> Result:
        return self.run(actor, "request", "taxi", "--version", number, "--why", "better")

    def approve(self, actor: str = "bob", number: str = "2", **options: tuple[str, ...]) -> Result:
        return self.run(
            actor, "approve", "taxi", "--version", number, "--why", "checked", **options
        )

    def promote(self, number: str = "2") -> int:
        return self.history.promote("taxi", "champion", number, time=10**15, actor="cyd")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    desk = Desk(Home(tmp_path), tmp_path, monkeypatch)
    assert desk.policy().exit_code == 0
    return desk


def test_a_champion_is_promoted_once_another_person_approved(desk: Desk) -> None:
    with pytest.raises(VersionRefused, match="version 2: it has 0 of 1 approvals for champion"):
        desk.promote()
    assert "approval of taxi version 2 for champion requested" in desk.request().output
    assert "bob approved taxi version 2 for champion" in desk.approve().output
    desk.promote()
    assert desk.history.aliases("taxi") == {"champion": "2"}


@pytest.mark.parametrize("actor", ["ann", "cyd"])
def test_neither_registrant_nor_requester_approves(desk: Desk, actor: str) -> None:
    desk.request()
    found = desk.approve(actor).exception
    assert isinstance(found, VersionRefused)
    assert f"{actor} registered or requested version 2 of taxi" in str(found)


def test_an_approval_comes_from_the_named_role(desk: Desk) -> None:
    desk.request()
    found = str(desk.approve(groups=("dev",)).exception)
    assert found == "champion of taxi: expected an approval from risk; bob is in dev"


def test_nobody_approves_what_was_not_requested(desk: Desk) -> None:
    assert "expected driftline request first" in str(desk.approve().exception)
    assert isinstance(desk.approve(number="9").exception, UnknownVersion)


def test_what_changed_makes_request_and_approval_stale(desk: Desk) -> None:
    desk.request()
    report = encode_detail(GateResult("passed"))
    gated = HistoryRow(0, "taxi", "gated", "2", 0, "ci", digest="d2", evidence="r", detail=report)
    desk.history.append("taxi", lambda _: [gated])
    assert "its gate report changed after revision 5" in str(desk.approve().exception)
    desk.request()
    desk.approve()
    desk.policy()
    with pytest.raises(VersionRefused, match="0 of 1 approvals"):
        desk.promote()
    assert "the release policy changed" in str(desk.approve("dan").exception)


def test_a_new_champion_makes_other_approvals_stale(desk: Desk) -> None:
    for number in ("2", "3"):
        desk.request(number)
        desk.approve(number=number)
    desk.promote("3")
    with pytest.raises(VersionRefused, match="0 of 1 approvals"):
        desk.promote("2")


def test_a_rejection_is_final(desk: Desk) -> None:
    desk.request()
    desk.approve()
    rejected = desk.run("dan", "reject", "taxi", "--version", "2", "--why", "unfair")
    assert "dan rejected taxi version 2" in rejected.output
    with pytest.raises(VersionRefused, match="rejected by dan in revision 7: unfair"):
        desk.promote()
    assert "that is final for its content" in str(desk.request().exception)


def test_what_an_alias_names_cannot_be_rejected(desk: Desk) -> None:
    desk.request()
    desk.approve()
    desk.promote()
    found = desk.run("dan", "reject", "taxi", "--version", "2", "--why", "late").exception
    assert "version 2 of taxi is champion" in str(found)


def test_going_back_to_an_approved_version_needs_no_approval(desk: Desk) -> None:
    for number in ("2", "3"):
        desk.request(number)
        desk.approve(number=number)
        desk.promote(number)
    desk.promote("2")
    assert desk.history.aliases("taxi") == {"champion": "2"}


def test_the_policy_is_shown(desk: Desk) -> None:
    shown = desk.run("eve", "release-policy", "taxi").output
    assert "champion:\n    from:\n    - risk\n" in shown


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("approvals: {champion: {require: 1}}", "approvals of champion: no field 'require'"),
        ("approval: {}", "no field 'approval'; expected gates, approvals, on_register"),
        ("approvals: {champion: {required: 0}}", "Expected `int` >= 1"),
        ("- 1", "Expected `object`"),
        ("a: [", "policy.yaml"),
    ],
)
def test_a_policy_that_cannot_be_read_is_named(desk: Desk, text: str, sentence: str) -> None:
    found = desk.policy(text).exception
    assert isinstance(found, InvalidPolicy)
    assert sentence in str(found)


def test_a_model_without_a_policy_needs_no_approval(desk: Desk) -> None:
    desk.history.register("bus", "1", time=0, actor="ann", digest="b1")
    assert desk.history.promote("bus", "champion", "1", time=0, actor="ann") == 6
    asked = desk.run("cyd", "request", "bus", "--version", "1", "--why", "x").exception
    assert "asks for no approval of champion" in str(asked)
