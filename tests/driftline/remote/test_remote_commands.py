"""Commands with `--server`: register, gate, approve and promote remotely."""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Literal

import httpx
import msgspec
import pytest
import yaml
from starlette.routing import Route

from access.authorizer import Authorizer
from access.keyfile import KeyFile
from driftline.changes import CHANGES
from driftline.remote.app import registry_app
from driftline.remote.client import RemoteError
from driftline.remote.rules import ROUTES, match_remote_rule
from driftline.remote.uploads import Uploads
from eventlog.settings import Home
from registry.approvals import Approvals
from registry.history.rows import (
    ApprovalRule,
    HistoryRow,
    ReleasePolicy,
    ScheduleChange,
    VerdictPolicy,
    encode_detail,
)
from registry.worker_reports import WorkerReport, WorkerReportPublisher
from tests.driftline.remote.registry_server import Elsewhere, RegistryServer
from tests.tiny_model import MANIFEST, register_tiny, tiny_classifier

MODEL = "/v1/registry/models/taxi"
POLICY = "approvals: {champion: {required: 1, from: [risk]}}\n"


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[RegistryServer]:
    server = RegistryServer(
        tmp_path_factory.mktemp("remote"), free_port(), max_upload_bytes="100000"
    )
    yield server
    server.stop()


@pytest.fixture
def elsewhere(server: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    return Elsewhere(server, tmp_path, monkeypatch)


def files(folder: Path, **changes: object) -> tuple[Path, Path]:
    """Return the paths of a model and its manifest."""
    (folder / "model.onnx").write_bytes(tiny_classifier().SerializeToString())
    stated = {**MANIFEST, **changes}
    stated.pop("target")
    (folder / "manifest.yaml").write_text(yaml.safe_dump(stated))
    return folder / "model.onnx", folder / "manifest.yaml"


def test_a_version_is_registered_gated_and_promoted_from_another_machine(
    server: RegistryServer, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    onnx, manifest = files(tmp_path)
    register = ("register", onnx, "--name", "taxi", "--manifest", manifest)
    done = elsewhere.run("trainer", *register)
    assert done.exit_code == 0, done.output
    assert "taxi version 1, sha256" in done.output
    assert server.history.aliases("taxi") == {}, "a key that may not promote promotes nothing"

    (tmp_path / "policy.yaml").write_text(POLICY)
    policy = ("release-policy", "taxi", "--file", tmp_path / "policy.yaml", "--why", "board")
    assert elsewhere.run("owner", *policy).exit_code == 0
    (tmp_path / "gates.yaml").write_text("gates: {small: {kind: size, at_most_mb: 1}}\n")
    gates = ("gates", "taxi", "--file", tmp_path / "gates.yaml", "--why", "agreed")
    assert "1 gates of taxi are set" in elsewhere.run("owner", *gates).output
    gated = elsewhere.run(
        "trainer", "gate", "taxi", "--version", "1", "--html", tmp_path / "r.html"
    )
    assert gated.exit_code == 0, gated.output
    assert "taxi version 1: passed" in gated.output
    assert b"<!doctype html>" in (tmp_path / "r.html").read_bytes()
    assert "small" in elsewhere.run("risk", "gates", "taxi", "--version", "1").output

    version = ("taxi", "--version", "1", "--why", "checked")
    assert elsewhere.run("trainer", "request", *version).exit_code == 0
    refused = elsewhere.run("everything", "approve", *version)
    assert "expected an approval from risk; key:everything is in everything" in str(
        refused.exception
    )
    promoted = ("promote", *version)
    assert "0 of 1 approvals" in str(elsewhere.run("releaser", *promoted).exception)
    assert "key:risk approved taxi" in elsewhere.run("risk", "approve", *version).output
    done = elsewhere.run("releaser", *promoted)
    assert "no worker is running" in done.output
    assert "taxi" in elsewhere.run("risk", "models").output
    shown = elsewhere.run("risk", "history", "taxi", "--json").output
    actors = ["key:trainer", "key:owner", "key:owner", "key:trainer", "key:trainer"]
    assert [row.actor for row in server.history.rows("taxi")] == [
        *actors,
        "key:risk",
        "key:releaser",
    ]
    assert shown.count("\n") == 7
    assert not elsewhere.home.exists(), "nothing is left on the machine of the commands"


def test_an_approval_starts_the_rollout_that_the_policy_states(
    server: RegistryServer, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    for description in ("one", "two", "three"):
        register_tiny(server.registry, tmp_path / "files", "tram", description=description)
    server.registry.promote("tram", "1")
    (tmp_path / "policy.yaml").write_text(
        f"{POLICY}\non_approve: rollout\n"
        "rollout: {steps: [0.1, 1], bake_s: 60, verdict: {tolerate: 1.5, metrics: [labels]}}\n"
    )
    policy = ("release-policy", "tram", "--file", tmp_path / "policy.yaml", "--why", "board")
    done = elsewhere.run("owner", *policy)
    assert done.exit_code == 0, done
    for number in "23":
        version = ("tram", "--version", number, "--why", "checked")
        assert elsewhere.run("everything", "request", *version).exit_code == 0
        approved = elsewhere.run("risk", "approve", *version)
        assert approved.exit_code == 0
        if number == "2":
            assert (
                "by the release policy, tram champion: version 2 answers 10 % of the keys"
                in approved.output
            )
    assert (
        "did not start: champion of tram: key:risk already rolls out version 2" in approved.output
    )
    rows = server.history.rows("tram")[-4:]
    assert [(row.kind, row.actor) for row in rows] == [
        ("approved", "key:risk"),
        ("rollout_step", "key:risk"),
        ("requested", "key:everything"),
        ("approved", "key:risk"),
    ]
    verdicts = server.history.state("tram").rollouts["champion"].policy
    assert verdicts == VerdictPolicy(tolerate=1.5, metrics=["labels"])
    status = elsewhere.run("risk", "rollout", "status", "tram").output
    assert "The monitor's page shows the counts of this step." in status


def test_a_second_version_is_rolled_out_and_rolled_back_remotely(
    server: RegistryServer, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    for description in ("one", "two"):
        register_tiny(server.registry, tmp_path / "files", "bus", description=description)
    server.registry.promote("bus", "1")
    start = ("rollout", "start", "bus", "--version", "2", "--steps", "5,50", "--no-judge")
    assert "version 2 answers 5 % of the keys" in elsewhere.run("everything", *start).output
    assert "50 %" in elsewhere.run("everything", "rollout", "advance", "bus").output
    assert "50 %" in elsewhere.run("everything", "rollout", "status", "bus").output
    assert "completed" in elsewhere.run("everything", "rollout", "promote", "bus").output
    back = elsewhere.run("everything", "rollback", "bus", "--why", "slow")
    assert "bus champion is version 1 again" in back.output
    assert "version 2 is barred" in back.output
    assert (
        "no longer barred"
        in elsewhere.run("everything", "unbar", "bus", "--version", "2", "--why", "fixed").output
    )


def test_operators_work_from_another_machine(
    server: RegistryServer, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    onnx, manifest = files(tmp_path)
    (tmp_path / "models" / "metro").mkdir(parents=True)
    onnx.rename(tmp_path / "models" / "metro" / "model.onnx")
    manifest.rename(tmp_path / "models" / "metro" / "manifest.yaml")
    provision = ("provision", tmp_path / "models" / "metro", "--name", "metro")
    assert "metro champion is version 1" in elsewhere.run("everything", *provision).output
    assert "champion is" not in elsewhere.run("everything", *provision).output  # it was so before

    said = elsewhere.run("everything", "limits", "metro", "champion", "--max-requests", "20").output
    assert "metro version 1: max_requests 20" in said
    assert (
        "key:everything: version 1 max_requests 20"
        in elsewhere.run("everything", "limits", "metro").output
    )
    assert "desired state unloaded" in elsewhere.run("everything", "unload", "metro").output
    assert "desired state loaded" in elsewhere.run("everything", "unload", "metro", "--undo").output
    (tmp_path / "policy.yaml").write_text("alarms: {min_rows: 77}\n")
    policy = ("policy", "metro", "--file", tmp_path / "policy.yaml", "--why", "few rows")
    assert "alarms.min_rows" in elsewhere.run("everything", *policy).output
    assert "77" in elsewhere.run("everything", "policy", "metro").output
    assert "is learning its baseline" in elsewhere.run("everything", "baseline", "metro").output
    chosen = ("baseline", "metro", "--from", "2026-11-01", "--to", "2026-11-02")
    assert "no database" in str(elsewhere.run("everything", *chosen).exception)
    owner = ("describe", "metro", "--owner", "team sky", "--tag", "tier-1", "--why", "audit")
    assert elsewhere.run("everything", *owner).output == ("metro: owner team sky; tags tier-1\n")
    assert "owner team sky; tags tier-1" in elsewhere.run("risk", "describe", "metro").output
    for command in (
        owner,
        ("limits", "metro", "--max-bytes", "5"),
        ("unload", "metro"),
        policy,
        chosen,
    ):
        assert "lacks the scope operate" in str(elsewhere.run("risk", *command).exception)

    revision, chain = server.history.head()
    assert elsewhere.run("risk", "audit", "head").output == f"{revision}:{chain}\n"
    verified = elsewhere.run("risk", "audit", "verify", "--head", f"{revision}:{chain}")
    assert f"{revision} rows agree with their chain" in verified.output
    export = elsewhere.run("risk", "audit", "export", tmp_path / "history.jsonl")
    assert f"{revision} rows written" in export.output
    assert "lacks the scope read" in str(elsewhere.run("trainer", "audit", "head").exception)


def test_a_faulty_file_gets_the_same_error_remotely_and_locally(
    server: RegistryServer, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    done = elsewhere.run("trainer", "register", tmp_path / "bad.onnx", "--name", "taxi")
    assert isinstance(done.exception, RemoteError)
    assert "onnx" in str(done.exception).lower()
    (tmp_path / "large.onnx").write_bytes(bytes(100_001))
    done = elsewhere.run("trainer", "register", tmp_path / "large.onnx", "--name", "taxi")
    assert "the file has 100,001 bytes; expected at most 100,000" in str(done.exception)


def test_a_version_from_another_machine_names_its_retraining_request(
    server: RegistryServer, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    onnx, manifest = files(tmp_path)
    register = ("register", onnx, "--name", "barge", "--manifest", manifest, "--answers")
    assert "expected the id" in str(elsewhere.run("everything", *register, "rr 1").exception)
    done = elsewhere.run("everything", *register, "rr_1")
    assert done.exit_code == 0, done.output
    assert server.history.state("barge").answers["rr_1"].number == "1"


def test_the_server_states_its_address(server: RegistryServer) -> None:
    server.until(lambda: f"registry server ready at {server.url}/" in server.log.read_text())


@pytest.mark.parametrize("command", ["request", "approve", "reject", "promote"])
def test_an_unknown_key_changes_nothing(elsewhere: Elsewhere, command: str) -> None:
    done = elsewhere.run("dl_0_0", command, "taxi", "--version", "1", "--why", "x")
    assert "expected a valid key" in str(done.exception)


def test_every_route_is_in_the_table_of_scopes(tmp_path: Path) -> None:
    home = Home(tmp_path)
    uploads = Uploads(tmp_path, largest=1, total=1, seconds=1)
    app = registry_app(home, Authorizer(KeyFile.of(home), open_without_keys=False), uploads, 1)
    found = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert found == set(ROUTES)
    assert {change.scope for change in CHANGES.values()} == {
        "register",
        "approve",
        "promote",
        "admin",
        "operate",
    }


@pytest.mark.parametrize(("method", "template"), [key for key in ROUTES if key[1] != "/health"])
def test_no_route_answers_without_its_scope(
    server: RegistryServer, method: str, template: str
) -> None:
    path = template.format(model="other", digest="0" * 64, job="1")
    assert server.call(method, path, "dl_0_0").status_code == 401
    match = match_remote_rule(method, path)
    assert match is not None
    roles = {"trainer": "register:taxi", "releaser": "promote:taxi", "risk": "approve"}
    for role, scope in roles.items():
        if match.model is None and scope.partition(":")[0] in match.rule.scopes:
            continue
        if scope in match.rule.scopes or ("read" in match.rule.scopes and role == "risk"):
            continue
        assert server.call(method, path, role).status_code == 403, (role, path)


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("approve", b"{", 400, "the body"),
        ("approve", b'{"number": "1"}', 400, "expected why"),
        ("approve", b'{"number": 1, "why": "x"}', 400, "Expected `str`, got `int`"),
        ("approve", b'{"number": "1", "why": "x", "actor": "key:bob"}', 400, "actor"),
        ("approve", b'{"number": "9", "why": "x"}', 404, "no version '9'"),
        ("promote", b'{"number": "9"}', 404, "9"),
        ("promote", b'{"number": "1", "alias": "A"}', 400, "alias 'A'"),
        (
            "versions",
            b'{"files": {"../x": "' + b"0" * 64 + b'"}}',
            400,
            "inside the model's folder",
        ),
        ("versions", b'{"files": {"m.onnx": "' + b"0" * 64 + b'"}}', 409, "not uploaded"),
        ("versions", b'{"files": {"m.onnx": "../../keys.json"}}', 400, "expected the SHA-256"),
        ("versions", b'{"files": {}}', 400, "expected 1 to 1000"),
        ("rollout/start", b'{"number": "1", "steps": [2]}', 409, "expected increasing shares"),
        ("rollout/change", b'{"action": "explode"}', 400, "Invalid enum value"),
        ("release-policy", b'{"policy": {"gate": 1}, "why": "x"}', 400, "no field 'gate'"),
        ("nothing", b"{}", 404, "Not Found"),
        ("limits", b'{"limits": {"max_batch_size": 0}}', 400, "max_batch_size"),
        ("policy", b'{"policy": {"alarm": {}}, "why": "x"}', 400, "alarm"),
        ("unload", b'{"number": "9"}', 404, "9"),
        ("provide", b'{"number": "9"}', 404, "9"),
        ("baseline", b'{"start": 2, "end": 1}', 400, "expected its start before its end"),
        ("approve", b'{"number": "1", "alias": "a\\u0000", "why": "x"}', 400, "contains NUL"),
        ("release-policy", b'{"policy": {"approvals": {"A": {}}}, "why": "x"}', 400, "alias 'A'"),
    ],
)
def test_bad_requests_are_named(
    server: RegistryServer, path: str, body: bytes, status: int, said: str
) -> None:
    reply = server.call("POST", f"{MODEL}/{path}", content=body)
    assert (reply.status_code, said in reply.json()["error"]) == (status, True), reply.text


@pytest.mark.parametrize("model", ["A", "a%00b", "..", "%2e%2e", "a%2fb", "a" * 64])
def test_names_that_no_model_can_have_are_refused(server: RegistryServer, model: str) -> None:
    for method, path in (("GET", "history"), ("POST", "reject"), ("POST", "gate")):
        body = {"number": "1"} | ({"why": "x"} if path == "reject" else {})
        reply = server.call(method, f"/v1/registry/models/{model}/{path}", json=body)
        assert reply.status_code in {400, 404}, reply.text
        assert "error" in reply.json()


def test_browsers_and_repeated_credentials_are_refused(server: RegistryServer) -> None:
    path, key = f"{MODEL}/history", server.keys["everything"]
    assert server.call("GET", path, headers={"origin": "https://a.example"}).status_code == 403
    doubled = [("authorization", f"Bearer {key}")] * 2
    assert httpx.get(server.url + path, headers=doubled, trust_env=False).status_code == 401


def test_a_job_that_fails_in_an_unforeseen_way_shows_no_traceback(server: RegistryServer) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    server.call("PUT", f"/v1/registry/uploads/{digest}", content=b"x")
    body = {"files": {"a": digest, "a/b": digest}}
    job = server.call("POST", f"{MODEL}/versions", json=body).json()
    while not job.get("ended"):
        job = server.call("GET", f"/v1/registry/jobs/{job['id']}?wait=10").json()
    assert "Traceback" not in str(job)
    assert "see the server's log" in job["result"]["error"]
    assert "Traceback" in server.log.read_text()
    assert server.call("GET", f"/v1/registry/jobs/{job['id']}", "trainer").status_code == 404


def test_an_upload_must_match_its_digest(server: RegistryServer) -> None:
    good = hashlib.sha256(b"good").hexdigest()
    path = f"/v1/registry/uploads/{good}"
    assert "the bytes have the SHA-256" in server.call("PUT", path, content=b"evil").json()["error"]
    assert server.call("PUT", "/v1/registry/uploads/x", content=b"x").status_code == 400
    chunked = server.call("PUT", path, content=iter([b"good"]))
    assert chunked.status_code == 411
    assert [one.name for one in server.home.uploads.iterdir() if one.name == good] == []
    assert server.call("PUT", path, content=b"good").status_code == 201
    assert server.call("PUT", path, content=b"good").status_code == 200
    assert not list(server.home.uploads.glob(".part-*"))


def test_concurrent_approvals_both_count_and_a_repeated_one_counts_once(
    server: RegistryServer,
) -> None:
    history = server.history
    history.register("gondola", "1", time=0, actor="key:trainer", digest="d1")
    rule = ApprovalRule(required=2)
    book = Approvals(history)
    book.set_policy("gondola", ReleasePolicy(approvals={"champion": rule}), actor="a", why="b")
    book.request("gondola", "1", "champion", actor="key:trainer", why="c")

    def approve(role: str) -> int:
        body = {"number": "1", "why": "read it", "digest": "d1"}
        path = "/v1/registry/models/gondola/approve"
        return server.call("POST", path, role, json=body).status_code

    with ThreadPoolExecutor(6) as threads:
        assert set(threads.map(approve, ["risk", "everything"] * 3)) == {200}
    approved = [row.actor for row in history.rows("gondola") if row.kind == "approved"]
    assert sorted(approved) == ["key:everything", "key:risk"]
    assert not history.state("gondola").refusal("champion", "1", time.time_ns() // 1_000)


def test_a_row_that_was_edited_by_hand_releases_nothing(server: RegistryServer) -> None:
    history = server.history
    history.register("ferry", "1", time=0, actor="key:trainer", digest="d1")
    book = Approvals(history)
    rule = ApprovalRule(required=1)
    book.set_policy("ferry", ReleasePolicy(approvals={"champion": rule}), actor="a", why="b")
    book.request("ferry", "1", "champion", actor="key:trainer", why="c")
    with sqlite3.connect(server.home.registry) as rows:
        rows.execute("DROP TRIGGER history_no_update")
        rows.execute(
            "UPDATE history SET actor = 'key:x' WHERE model = 'ferry' AND kind = 'requested'"
        )
    path = "/v1/registry/models/ferry/approve"
    reply = server.call("POST", path, "risk", json={"number": "1", "why": "fine"})
    assert reply.status_code == 409
    assert "was changed after it was written" in reply.json()["error"]


def test_rows_of_an_unknown_kind_are_skipped_and_prevent_changes(server: RegistryServer) -> None:
    history = server.history
    row = HistoryRow(0, "boat", "blessed", "1", 0, "key:x")
    history.register("boat", "1", time=0, actor="key:trainer", digest="d1")
    history.append("boat", lambda _: [row])
    assert len(server.call("GET", "/v1/registry/models/boat/history").json()) == 2
    body = {"number": "1", "why": "x"}
    reply = server.call("POST", "/v1/registry/models/boat/reject", json=body)
    assert reply.status_code == 409
    assert "of kind 'blessed', which a newer release wrote" in reply.json()["error"]


def test_models_are_listed_page_by_page(server: RegistryServer, elsewhere: Elsewhere) -> None:
    for name in ("page-a", "page-b", "page-c"):
        for number in ("1", "2"):
            server.history.register(name, number, time=0, actor="ann", digest=number * 64)
    path, query = "/v1/registry/models", {"pattern": "page-*", "limit": "2"}
    first = server.call("GET", path, params=query).json()
    assert [version["model"] for version in first["versions"]] == ["page-a"] * 2 + ["page-b"] * 2
    assert (first["next"], first["remaining"]) == ("page-b", 1)
    last = server.call("GET", path, params={**query, "after": first["next"]}).json()
    assert [version["model"] for version in last["versions"]] == ["page-c"] * 2
    assert last.keys() == {"versions"}
    listed = elsewhere.run("risk", "models", "page-*", "--limit", "2", "--json").stdout
    assert [msgspec.json.decode(line)["model"] for line in listed.splitlines()] == [
        "page-a", "page-a", "page-b", "page-b"
    ]  # fmt: skip


def test_schedules_of_all_models_need_one_request(
    server: RegistryServer, elsewhere: Elsewhere
) -> None:
    def change(model: str, action: Literal["set", "remove"]) -> None:
        detail = encode_detail(ScheduleChange(action, "0 6 * * 1"))
        row = HistoryRow(0, model, "schedule", "", 0, "ann", detail=detail)
        server.history.append(model, lambda _: [row])

    for model in ("bus", "car", "van"):
        change(model, "set")
    change("car", "remove")
    lines = elsewhere.run("risk", "schedule").stdout.splitlines()
    assert [line.split(":")[0] for line in lines if "0 6 * * 1" in line] == ["bus", "van"]
    path = "/v1/registry/schedules"
    page = server.call("GET", path).json()
    assert ([row["model"] for row in page["rows"]], page.keys()) == (["bus", "van"], {"rows"})
    later = server.call("GET", path, params={"after": "bus"}).json()
    assert [row["model"] for row in later["rows"]] == ["van"]


def test_workers_are_listed_only_for_models_that_the_caller_may_change(
    server: RegistryServer,
) -> None:
    with closing(WorkerReportPublisher(server.home.workers)) as publisher:
        serving = {"taxi": {"": "1"}, "secret": {"": "2"}}
        publisher.publish(WorkerReport(7, serving, {"secret": {"3": "damaged"}}))
        for role, models in (("releaser", {"taxi"}), ("owner", {"taxi", "secret"})):
            (report,) = server.call("GET", "/v1/registry/workers", role).json()
            assert report["serving"].keys() == models
            assert report["unready"].keys() == models - {"taxi"}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("limit=0", "limit is 0; expected 1 to 1000 models"),
        ("limit=1001", "limit is 1001; expected 1 to 1000 models"),
        ("limit=-1", "limit is '-1'; expected a whole number"),
        (f"pattern={'a' * 1001}", "pattern has 1001 characters; expected at most 1000"),
    ],
)
def test_an_impossible_page_number_is_refused(
    server: RegistryServer, query: str, reason: str
) -> None:
    reply = server.call("GET", f"/v1/registry/models?{query}")
    assert (reply.status_code, reply.json()["error"]) == (400, reason)
