"""`driftline request`, `approve`, `reject` and `release-policy` on the command line."""

import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from access.errors import Forbidden, Unauthenticated
from access.keyfile import KeyFile
from access.keys import make_key
from driftline import local_actor
from driftline.cli import driftline
from eventlog.settings import Home
from registry.approvals import Approvals
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
        self._patch.setattr(local_actor, "user_name", lambda: actor)
        self._patch.setattr(local_actor, "group_names", lambda: list(groups))
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
    assert "local:bob approved taxi version 2 for champion" in desk.approve().output
    desk.promote()
    assert desk.history.aliases("taxi") == {"champion": "2"}


@pytest.mark.parametrize("actor", ["ann", "cyd"])
def test_neither_registrant_nor_requester_approves(desk: Desk, actor: str) -> None:
    desk.request()
    found = desk.approve(actor).exception
    assert isinstance(found, VersionRefused)
    assert f"local:{actor} registered, trained or requested version 2:" in str(found)


def test_an_approval_comes_from_the_named_role(desk: Desk) -> None:
    desk.request()
    found = str(desk.approve(groups=("dev",)).exception)
    assert found == "champion of taxi: expected an approval from risk; local:bob is in dev"


def test_an_approval_needs_a_request(desk: Desk) -> None:
    assert "expected driftline request first" in str(desk.approve().exception)
    assert isinstance(desk.approve(number="9").exception, UnknownVersion)


def test_changed_gates_or_policies_make_request_and_approval_stale(desk: Desk) -> None:
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
    assert "local:dan rejected taxi version 2" in rejected.output
    with pytest.raises(VersionRefused, match="rejected by local:dan in revision 7: unfair"):
        desk.promote()
    assert "this is final for its content" in str(desk.request().exception)


def test_a_version_with_an_alias_cannot_be_rejected(desk: Desk) -> None:
    desk.request()
    desk.approve()
    desk.promote()
    found = desk.run("dan", "reject", "taxi", "--version", "2", "--why", "late").exception
    assert "version 2 of taxi is champion" in str(found)


def test_a_rollback_to_an_approved_version_needs_no_approval(desk: Desk) -> None:
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
    assert "requires no approval for champion" in str(asked)


def test_an_approval_is_for_the_digest_that_was_read(desk: Desk) -> None:
    desk.request()
    approve = ("approve", "taxi", "--version", "2", "--why", "checked")
    found = desk.run("bob", *approve, "--digest", "d3").exception
    assert "the content is d2, but the approval is for d3" in str(found)
    found = desk.run("bob", *approve, "--report", "ab12").exception
    assert "the gate report is missing, but the approval is for ab12" in str(found)
    assert desk.run("bob", *approve, "--digest", "d2").exit_code == 0


def test_one_person_with_two_accounts_is_one_approval(desk: Desk) -> None:
    desk.policy("approvals: {champion: {required: 2}}")
    desk.request()
    book = Approvals(desk.history)
    for actor in ("key:bob", "local:bob", "bob"):
        revision = book.approve("taxi", "2", "champion", actor=actor, why="checked")
    assert revision == desk.history.rows("taxi")[-1].revision
    with pytest.raises(VersionRefused, match="1 of 2 approvals"):
        desk.promote()
    book.approve("taxi", "2", "champion", actor="oidc:dan", why="checked")
    desk.promote()


@pytest.mark.parametrize("actor", ["key:ann", "oidc:ann", "key:cyd", "key:trainer", "trainer"])
def test_the_four_eyes_principle_applies_to_people_not_credentials(desk: Desk, actor: str) -> None:
    desk.history.register(
        "taxi",
        "4",
        time=0,
        actor="key:ann",
        digest="d4",
        files={"a": "b"},
        trained_by="key:trainer",
    )
    desk.policy("approvals: {champion: {required: 1}}")
    desk.request("4", actor="cyd")
    with pytest.raises(VersionRefused, match="registered, trained or requested version 4"):
        Approvals(desk.history).approve("taxi", "4", "champion", actor=actor, why="fine")


def test_content_that_is_registered_twice_has_two_registrants(desk: Desk) -> None:
    desk.history.register("taxi", "4", time=0, actor="key:eve", digest="d2")
    desk.policy("approvals: {champion: {required: 1}}")
    desk.request("4", actor="cyd")
    for actor in ("ann", "eve"):
        assert isinstance(desk.approve(actor, "4").exception, VersionRefused)
    assert desk.approve("bob", "4").exit_code == 0


@pytest.mark.parametrize("command", ["request", "approve", "reject"])
def test_a_registry_that_requires_keys_refuses_local_users(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("DRIFTLINE_REGISTRY_REQUIRE_KEY", "true")
    monkeypatch.delenv("DRIFTLINE_API_KEY", raising=False)
    found = desk.run("bob", command, "taxi", "--version", "2", "--why", "x").exception
    assert isinstance(found, Unauthenticated)
    assert "expected DRIFTLINE_API_KEY or DRIFTLINE_API_KEY_FILE" in str(found)


def test_a_local_command_reports_that_it_ignores_the_environments_key(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not used" not in desk.request().stderr
    monkeypatch.setenv("DRIFTLINE_API_KEY", "dl_1_2")
    approved = desk.approve("bob")
    assert (
        "DRIFTLINE_API_KEY is not used: without --server, the actor in the history is local:bob"
        in (approved.stderr)
    )
    assert desk.history.rows("taxi")[-1].actor == "local:bob"


def test_the_key_is_the_actor_and_its_roles_apply(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys: list[str] = []
    file = KeyFile.of(Home(tmp_path), {})
    file.change_roles(lambda *_: {"risk": ["approve:taxi"], "ml": ["register", "approve:bus"]})
    for name, role in (("cyd", "ml"), ("bob", "risk")):
        found = make_key([], name=name, scopes=[], roles=[role], expires="", now=time.time())
        file.change(lambda held, key=found[0]: [*held, key])  # type: ignore[misc]
        keys.append(found[1])
    monkeypatch.setenv("DRIFTLINE_REGISTRY_REQUIRE_KEY", "true")
    monkeypatch.setenv("DRIFTLINE_API_KEY", keys[0])
    assert desk.request(actor="root").exit_code == 0
    found = desk.approve("root").exception
    assert isinstance(found, Forbidden)
    assert str(found) == "key:cyd lacks the scope of this change: expected approve or approve:taxi"
    monkeypatch.delenv("DRIFTLINE_API_KEY")
    (tmp_path / "key").write_text(f"{keys[1]}\n")
    monkeypatch.setenv("DRIFTLINE_API_KEY_FILE", str(tmp_path / "key"))
    assert desk.approve("root", groups=()).exit_code == 0
    assert [row.actor for row in desk.history.rows("taxi")[-2:]] == ["key:cyd", "key:bob"]
    desk.promote()
