"""The approval pages: pending requests, their contents, deciders and records."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from eventlog.settings import Home
from monitoring.web.app import app
from monitoring.web.approvals import ApprovalDesk
from monitoring.web.manifest_diff import manifest_diff
from monitoring.web.server import serving
from registry.approvals import Approvals
from registry.gates.outcomes import GateOutcome, GateReport
from registry.gates.reports import open_reports, record_run
from registry.history.rows import ApprovalRule, ReleasePolicy, RolloutPlan, VerdictPolicy
from registry.history.store import History
from registry.manifest import Feature, Manifest
from registry.pending_approvals import PendingApprovals
from registry.store import Registry
from tests.access.key_store import Door
from tests.monitoring.web.conftest import FakeStore
from tests.monitoring.web.test_web_access import basic, bearer
from tests.tiny_model import register_tiny

ONE = "/approvals/tiny/2/champion"
DAY = 86_400_000_000
_DEEP = b'{"decision": "approve", "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"


class Office:
    """A model with champion 1, a gated version 2 that waits for `risk`, and a monitor's page."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.registry = Registry(self.home)
        self.history = History(self.home.registry)
        self.now = time.time_ns()
        lineage = {"trained_by": "key:trainer"}
        for text in ("first", "second <b>"):
            register_tiny(self.registry, folder / "files", description=text, lineage=lineage)
        self.registry.promote("tiny", "1", actor="key:eve")
        rule = ApprovalRule(required=1, roles=["risk"], expire_days=10)
        self.book = Approvals(self.history, lambda: self.now)
        gates = {"small": {"kind": "size", "at_most_mb": 1}}
        policy = ReleasePolicy(gates=gates, approvals={"champion": rule})
        self.book.set_policy("tiny", policy, actor="key:eve", why="board")
        self.gate()
        self.door = Door()
        self.door.keys.of_roles = {"risk": ["approve", "read"]}

    def gate(self, reason: str = "0.1 MB <script>") -> None:
        state = self.history.state("tiny")
        outcome = GateOutcome("small", "size", "passed", reason)
        about = ("tiny", "2", state.digest_of("2"), state.policy_revision)
        found = GateReport(*about, "passed", [outcome], None, 1, 2, "key:trainer")
        self.report = open_reports(self.home).add(found, "")
        record_run(self.history, found, self.report, "")

    def request(self) -> None:
        self.book.request("tiny", "2", "champion", actor="key:trainer", why="better <i>")

    def key(self, name: str, *scopes: str, roles: tuple[str, ...] = ()) -> bytes:
        header = self.door.keys.add(*scopes, name=name)
        held = self.door.keys.keys or []
        self.door.keys.put([*held[:-1], replace(held[-1], roles=list(roles))])
        self.door.later()
        return header

    def desk(self) -> ApprovalDesk:
        pending = PendingApprovals(self.history, lambda: self.now)
        return ApprovalDesk(self.history, open_reports(self.home), pending, self.registry)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Office(tmp_path)


@pytest.fixture
def page(office: Office, tmp_path: Path) -> Iterator[httpx.Client]:
    made = app(
        FakeStore,
        tmp_path,
        catalogue=office.registry,
        authorizer=office.door.authorizer,
        desk=office.desk(),
    )
    with (
        serving(made, "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        yield client


def test_a_request_is_listed_shown_and_approved_in_a_browser(
    office: Office, page: httpx.Client
) -> None:
    ann = basic(office.key("ann", "approve:tiny", "read", roles=("risk",)))
    assert "No approval request is pending" in page.get("/approvals", headers=ann).text
    office.request()
    listed = page.get("/approvals", headers=ann).text
    assert f'href="{ONE}"' in listed
    assert "better &lt;i&gt;" in listed
    assert 'driftline_pending_approvals{model="tiny"} 1.0' in page.get("/metrics", headers=ann).text
    shown = page.get(ONE, headers=ann).text
    for text in ("description", "second &lt;b&gt;", "0.1 MB &lt;script&gt;", "Approve</button>"):
        assert text in shown
    assert "data-live" not in shown, "what is read must not change under the reader"
    report = page.get(f"/gate-reports/{office.report}", headers=ann)
    assert "Gates of tiny version 2" in report.text
    assert "script-src" not in report.headers["content-security-policy"]
    digest = office.history.state("tiny").digest_of("2")
    form = {"why": "read it", "decision": "approve", "digest": digest, "report": office.report}
    browser = {**ann, "accept": "text/html"}
    done = page.post(f"/api{ONE}", data=form, headers=browser)
    assert (done.status_code, done.headers["location"]) == (303, "/approvals")
    assert office.history.rows("tiny")[-1].actor == "key:ann"
    assert office.registry.promote("tiny", "2", actor="key:eve")
    assert page.get("/api/approvals", headers=ann).json() == []


@pytest.mark.parametrize("how", [bearer, basic])
def test_decisions_need_the_scope_approve_and_the_same_origin(
    office: Office, page: httpx.Client, how: Callable[[bytes], dict[str, str]]
) -> None:
    office.request()
    form = {"why": "x", "decision": "approve"}
    anonymous = page.post(f"/api{ONE}", data=form)
    assert (anonymous.status_code, "expected an API key" in anonymous.text) == (403, True)
    for name, scopes in (("a", ["operate"]), ("b", ["approve:other", "read"]), ("c", ["admin"])):
        reply = page.post(f"/api{ONE}", data=form, headers=how(office.key(name, *scopes)))
        assert reply.status_code == 403, scopes
    ann = how(office.key("ann", "approve", "read", roles=("risk",)))
    foreign = {**ann, "origin": "https://elsewhere.example"}
    assert page.post(f"/api{ONE}", data=form, headers=foreign).status_code == 403
    dev = how(office.key("dev", "approve", "read"))
    assert "expected an approval from risk" in page.get(ONE, headers=dev).text
    assert page.post(f"/api{ONE}", data=form, headers=dev).status_code == 409
    same = how(office.key("trainer", "approve", "read", roles=("risk",)))
    shown = page.get(ONE, headers=same).text
    assert "registered, trained or requested version 2" in shown
    assert ">Approve<" not in shown
    assert page.post(f"/api{ONE}", data=form, headers=same).status_code == 409
    assert [row.kind for row in office.history.rows("tiny")].count("approved") == 0
    assert page.post(f"/api{ONE}", data=form, headers=ann).status_code == 200


def test_a_version_changed_since_it_was_read_is_not_approved(
    office: Office, page: httpx.Client
) -> None:
    office.request()
    ann = bearer(office.key("ann", "approve", "read", roles=("risk",)))
    read = page.get("/api/approvals", headers=ann).json()[0]
    office.gate("another run")
    assert page.get("/api/approvals", headers=ann).json() == [], "the request is stale"
    assert page.get(ONE, headers=ann).status_code == 404
    office.request()
    body = {"why": "x", "decision": "approve", "digest": read["digest"], "report": read["report"]}
    reply = page.post(f"/api{ONE}", json=body, headers=ann)
    assert (reply.status_code, "gate report and approve again" in reply.text) == (409, True)


def test_requests_expire_and_rejections_are_final(office: Office, page: httpx.Client) -> None:
    office.request()
    ann = bearer(office.key("ann", "approve", "read", roles=("risk",)))
    assert len(page.get("/api/approvals", headers=ann).json()) == 1
    office.now += 11 * DAY * 1_000
    assert page.get("/api/approvals", headers=ann).json() == []
    with pytest.raises(Exception, match="has expired; repeat it"):
        office.book.approve("tiny", "2", "champion", actor="key:ann", why="x", roles=["risk"])
    office.request()  # the same request counts again
    assert len(page.get("/api/approvals", headers=ann).json()) == 1
    body = {"why": "unfair", "decision": "reject"}
    assert page.post(f"/api{ONE}", json=body, headers=ann).status_code == 200
    assert page.get("/api/approvals", headers=ann).json() == []
    assert "rejected" in office.history.state("tiny").refusal("champion", "2", 0)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"data": {"decision": "approve"}}, 400),
        ({"data": {"why": "x", "decision": "explode"}}, 400),
        ({"json": {"why": 1, "decision": "approve"}}, 400),
        ({"content": b"\xff=\xfe"}, 400),
        ({"content": b"why=" + b"x" * 70_000}, 413),
        ({"json": [1]}, 400),
        ({"content": _DEEP, "headers": {"content-type": "application/json"}}, 400),
    ],
)
def test_malformed_decisions_are_refused(
    office: Office, page: httpx.Client, sent: dict[str, Any], status: int
) -> None:
    office.request()
    ann = bearer(office.key("ann", "approve", "read", roles=("risk",)))
    headers = ann | sent.get("headers", {})
    assert page.post(f"/api{ONE}", **(sent | {"headers": headers})).status_code == status
    for digest in ("x", "0" * 64, "..%2f..%2fkeys"):
        assert page.get(f"/gate-reports/{digest}", headers=ann).status_code == 404


def test_a_difference_names_features_by_their_name() -> None:
    before = Manifest(
        features=[
            Feature(name="a", kind="numeric"),
            Feature(name="b", kind="numeric", nullable=True),
        ]
    )
    after = Manifest(
        features=[Feature(name="b", kind="numeric"), Feature(name="c", kind="numeric")], target="y"
    )
    found = {one.field: (one.before, one.after) for one in manifest_diff(before, after)}
    assert found["target"][1] == "y"
    assert found["features[b].nullable"][0] == "true"
    assert found["features[a].name"] == ("a", None)
    assert found["features[c].name"] == (None, "c")
    assert manifest_diff(after, after) == []


def test_an_approval_on_the_page_starts_the_rollout_of_the_policy(
    office: Office, page: httpx.Client
) -> None:
    rule = ApprovalRule(required=2)
    plan = RolloutPlan(steps=[0.1, 1.0], bake_s=60)
    policy = ReleasePolicy(approvals={"champion": rule}, on_approve="rollout", rollout=plan)
    office.book.set_policy("tiny", policy, actor="key:eve", why="board")
    office.request()
    for name in ("ann", "bob"):
        assert "champion" not in office.history.state("tiny").rollouts, "one approval is missing"
        key = bearer(office.key(name, "approve:tiny", "read"))
        form = {"why": f"{name} read it", "decision": "approve"}
        done = page.post(f"/api{ONE}", json=form, headers=key)
        assert done.json().keys() == {"revision", "actor"}, done.text
    rollout = office.history.state("tiny").rollouts["champion"]
    assert (rollout.number, rollout.steps, rollout.actor) == ("2", [0.1, 1.0], "key:bob")
    assert rollout.why.endswith(": bob read it")
    assert rollout.policy == VerdictPolicy()
