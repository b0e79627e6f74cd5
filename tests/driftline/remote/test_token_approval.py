"""An approval with a token of an identity provider, over the registry server."""

from pathlib import Path

import httpx

from access.authorizer import Authorizer
from access.keyfile import KeyFile
from driftline.remote.app import registry_app
from driftline.remote.uploads import Uploads
from eventlog.settings import Home
from registry.approvals import Approvals
from registry.history.rows import ApprovalRule, ReleasePolicy
from registry.history.store import History
from tests.access.test_oidc import verifier
from tests.access.token_issuer import serving_issuer

PATH = "/v1/registry/models/taxi/approve"


async def test_a_subject_with_the_role_approves_and_is_the_actor(tmp_path: Path) -> None:
    home = Home(tmp_path)
    KeyFile.of(home, {}).change_roles(lambda *_: {"risk": ["approve"]})
    history = History(home.registry)
    history.register("taxi", "1", time=0, actor="key:eve", digest="d1")
    rules = {"champion": ApprovalRule(roles=["risk"])}
    book = Approvals(history)
    book.set_policy("taxi", ReleasePolicy(approvals=rules), actor="key:eve", why="board")
    book.request("taxi", "1", "champion", actor="key:eve", why="better")
    with serving_issuer() as issuer:
        keys = Authorizer(KeyFile.of(home, {}), open_without_keys=False, tokens=verifier(issuer))
        uploads = Uploads(tmp_path / "uploads", largest=1, total=1, seconds=1)
        transport = httpx.ASGITransport(registry_app(home, keys, uploads, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            found = []
            for changes in ({"roles": ["dev"]}, {"sub": "eve"}, {"aud": "x"}, {}):
                token = issuer.token(**changes).decode()
                headers = {"authorization": f"Bearer {token}"}
                body = {"number": "1", "why": "read it"}
                reply = await client.post(PATH, json=body, headers=headers)
                found.append(reply.status_code)
    assert found == [403, 409, 401, 200]
    assert history.rows("taxi")[-1].actor == "oidc:ann"
    assert not history.state("taxi").refusal("champion", "1", history.rows("taxi")[-1].time)
