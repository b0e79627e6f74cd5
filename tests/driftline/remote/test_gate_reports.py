"""Gate reports by digest: access rights, and digests that belong to no report."""

import hashlib
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from access.authorizer import Authorizer
from access.keyfile import KeyFile
from access.keys import make_key
from driftline.remote.app import registry_app
from driftline.remote.uploads import Uploads
from eventlog.settings import Home
from registry.artifacts import ArtifactStore
from registry.errors import ArtifactsUnavailable, UnknownReport
from registry.gates.outcomes import GateReport
from registry.gates.reports import GateReports, open_reports

REPORT = GateReport("taxi", "1", "d1", 3, "passed", [], None, 1, 2, "key:ann")


def test_a_report_is_readable_only_with_its_models_scope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DRIFTLINE_ARTIFACTS", raising=False)
    home = Home(tmp_path)
    digest = open_reports(home).add(REPORT, "<!doctype html>")
    keys = KeyFile.of(home, {})
    secrets = {}
    for scope in ("approve:taxi", "register:taxi", "read", "approve:bus", "promote:taxi"):
        key, secrets[scope] = make_key([], name="n", scopes=[scope], expires="", now=time.time())
        keys.change(lambda stored, key=key: [*stored, key])  # type: ignore[misc]
    uploads = Uploads(home.uploads, largest=1, total=1, seconds=1)
    app = registry_app(home, Authorizer(keys, open_without_keys=False), uploads, 1)
    with TestClient(app, raise_server_exceptions=False) as client:

        def status(scope: str, digest: str, accept: str = "*/*") -> int:
            headers = {"authorization": f"Bearer {secrets[scope]}", "accept": accept}
            reply = client.get(f"/v1/registry/reports/{digest}", headers=headers)
            assert ("taxi" in reply.text) == (reply.status_code == 200 and accept == "*/*")
            return reply.status_code

        assert {scope: status(scope, digest) for scope in secrets} == {
            "approve:taxi": 200,
            "register:taxi": 200,
            "read": 200,
            "approve:bus": 403,
            "promote:taxi": 403,
        }
        assert status("approve:taxi", digest, "text/html") == 200
        assert status("approve:bus", digest, "text/html") == 403
        assert status("approve:bus", "0" * 64) == 404
        assert status("approve:bus", "nothing") == 400


def test_a_shared_file_that_is_not_a_report_is_not_found(tmp_path: Path) -> None:
    shared, digest = ArtifactStore((tmp_path / "shared").as_uri()), hashlib.sha256(b"x").hexdigest()
    (tmp_path / "model.onnx").write_bytes(b"x")
    shared.put(tmp_path, {"model.onnx": digest})
    reports = GateReports(tmp_path / "reports", shared)
    for missing in (digest, "0" * 64):
        with pytest.raises(UnknownReport, match=missing):
            reports.read(missing)
    assert list(reports.folder.iterdir()) == []


def test_a_partly_fetched_report_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = ArtifactStore((tmp_path / "shared").as_uri())
    digest = GateReports(tmp_path / "here", shared).add(REPORT, "")
    reports = GateReports(tmp_path / "there", shared)

    def interrupt(_: str, __: str, target: Path) -> None:
        target.write_bytes(b"{")
        raise ArtifactsUnavailable("the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(shared, "fetch", interrupt)
        with pytest.raises(ArtifactsUnavailable):
            reports.read(digest)
    assert reports.read(digest) == REPORT
