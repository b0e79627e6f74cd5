"""Every route and method of the real application is in the table of scopes."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.routing import Mount

from access.browser_guard import BrowserGuard
from service.auth.rules import METHODS, ROUTES, Rule, match_rule
from service.buffered_bytes import BufferedBytes
from service.grpc.server import GrpcServer
from service.grpc.servicer import Servicer
from service.rest.routes import create_app
from service.settings import Settings
from tests.access.key_store import Door

# Paths that the front answers before the application is asked.
FRONT = {"/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"}


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The application that BentoML builds for a worker."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("rules")
        patch.setenv("DRIFTLINE_HOME", str(root))
        patch.setenv("BENTOML_HOME", str(root))
        from bentoml import Service  # noqa: PLC0415  # reads its home as it is imported

        from service.app import Driftline  # noqa: PLC0415

        return Service.to_asgi(Driftline)


def _paths(routes: list[Any], above: str = "") -> Iterator[str]:
    for route in routes:
        inside = getattr(route, "routes", None)
        if isinstance(route, Mount) and inside:
            yield from _paths(inside, above + route.path)
        elif isinstance(route, Mount):
            yield above + route.path + "/{path:path}"
        else:
            yield above + route.path


def test_the_table_and_the_application_have_the_same_routes(application: Any) -> None:
    assert set(_paths(application.routes)) | FRONT == set(ROUTES)


def test_bentoml_mounts_every_route_of_the_application(application: Any) -> None:
    ours = set(_paths(create_app(lambda: pytest.fail("not started")).routes))
    assert len(ours) > 8
    assert ours <= set(_paths(application.routes))


def test_the_table_and_the_grpc_services_have_the_same_methods() -> None:
    parts = ("pipeline", "models", "repository", "statistics", "new_call", "access", "limits")
    servicer = Servicer(**dict.fromkeys(parts))  # type: ignore[arg-type]
    guard = BrowserGuard(["*"], "HOSTS")
    server = GrpcServer(servicer, Settings(), Door().authorizer, guard, BufferedBytes(1))
    assert set(server.methods) == set(METHODS)


@pytest.mark.parametrize(
    ("path", "rule", "model"),
    [
        ("/v2/models/flights/infer", Rule("predict", method="POST"), "flights"),
        ("/v2/models/flights/versions/champion/infer", Rule("predict", method="POST"), "flights"),
        ("/v2/models/versions", Rule("predict"), "versions"),
        (
            "/v2/repository/models/flights/load",
            Rule("operate", admin=True, method="POST"),
            "flights",
        ),
        ("/static_content/a/b.js", Rule("any", admin=True), None),
        ("/v2/health/ready", Rule("open"), None),
    ],
)
def test_a_path_is_parsed_as_the_router_parses_it(path: str, rule: Rule, model: str | None) -> None:
    found = match_rule(path)
    assert found is not None
    assert (found.rule, found.model) == (rule, model)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/metrics/",
        "//metrics",
        "/METRICS",
        "/metrics\n",
        "/v2/health/ready/../../metrics",
        "/v2/models//infer",
        "/v2/models/a/b/infer",
        "/v2/repository",
        "/nothing",
    ],
)
def test_a_path_that_is_not_listed_has_no_rule(path: str) -> None:
    found = match_rule(path)
    assert found is None or found.rule.scope != "open"
