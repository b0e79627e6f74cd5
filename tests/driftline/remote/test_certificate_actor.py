"""Without keys, the name in the client certificate is the actor."""

from pathlib import Path

import httpx
import pytest

from access.authorizer import Authorizer
from access.keyfile import KeyFile
from access.tls import Tls
from driftline.remote.app import registry_app
from driftline.remote.uploads import Uploads
from eventlog.settings import Home
from monitoring.web.app import app
from monitoring.web.approvals import ApprovalDesk
from monitoring.web.server import serving
from registry.approvals import Approvals
from registry.gates.reports import open_reports
from registry.history.rows import ApprovalRule, ReleasePolicy
from registry.history.store import History
from registry.pending_approvals import PendingApprovals
from tests.access.certificates import Certificates
from tests.monitoring.web.conftest import FakeStore

ACTOR = "cert:caller@example.org"


@pytest.mark.parametrize("port", ["registry", "page"])
def test_the_name_of_the_certificate_approves(tmp_path: Path, port: str) -> None:
    home, files = Home(tmp_path / "home"), Certificates(tmp_path / "tls")
    history = History(home.registry)
    history.register("taxi", "1", time=0, actor="key:eve", digest="d1")
    policy = ReleasePolicy(approvals={"champion": ApprovalRule()})
    book = Approvals(history)
    book.set_policy("taxi", policy, actor="key:eve", why="board")
    book.request("taxi", "1", "champion", actor="key:eve", why="better")
    open_to_certificates = Authorizer(KeyFile.of(home, {}), open_without_keys=True)
    body = {"number": "1", "why": "read it"}
    if port == "registry":
        uploads = Uploads(tmp_path / "uploads", largest=1, total=1, seconds=1)
        application = registry_app(home, open_to_certificates, uploads, 1)
        path = "/v1/registry/models/taxi/approve"
    else:
        desk = ApprovalDesk(history, open_reports(home), PendingApprovals(history))
        application = app(FakeStore, tmp_path, authorizer=open_to_certificates, desk=desk)
        path, body = "/api/approvals/taxi/1/champion", {"decision": "approve", "why": "read it"}
    tls = Tls.of(*files.server, str(files.authority), "X_")
    with serving(application, "127.0.0.1", 0, tls) as address:
        reply = httpx.post(address + path, json=body, verify=files.context(), trust_env=False)
    assert reply.status_code == 200, reply.text
    assert history.rows("taxi")[-1].actor == ACTOR
