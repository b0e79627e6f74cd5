"""The service's OpenAPI document is complete and true, and its page shows it."""

from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis import checks

from service.auth.rules import ROUTES
from service.rest.api_description import describe

pytestmark = pytest.mark.untraced

_FOR_PEOPLE = {"/", "/docs.json", "/schema.json", "/static_content/{path:path}"}
_TRUE = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


def test_every_route_is_described_with_its_method_and_scope() -> None:
    described = {
        (path, method.upper()): operation
        for path, operations in describe()["paths"].items()
        for method, operation in operations.items()
    }
    routes = {(path, rule.method): rule for path, rule in ROUTES.items() if path not in _FOR_PEOPLE}
    assert described.keys() == routes.keys()
    for place, rule in routes.items():
        assert (described[place]["security"] == []) == (rule.scope == "open"), place
        if rule.scope not in {"open", "any"}:
            assert f"`{rule.scope}`" in described[place]["description"]


@pytest.fixture(scope="module")
def api(service: Any) -> Any:
    document = service.http.get("/docs.json").raise_for_status().json()
    loaded = schemathesis.openapi.from_dict(document)
    loaded.config.update(base_url=service.url)

    @loaded.hook
    def map_path_parameters(_: Any, parameters: dict[str, Any] | None) -> Any:
        """Name the model that is there in half of the requests."""
        if parameters and len(str(parameters.get("model", ""))) % 2:
            return parameters | {"model": "tiny"}
        return parameters

    return loaded


_OPERATIONS = [
    (path, method)
    for path, operations in describe()["paths"].items()
    for method in operations
    if not path.endswith("unload")  # a model that the other tests call
]


@pytest.mark.parametrize(("path", "method"), _OPERATIONS)
def test_a_running_service_answers_as_described(api: Any, path: str, method: str) -> None:
    @hypothesis.settings(max_examples=10, deadline=None, derandomize=True, database=None)
    @hypothesis.given(case=api[path][method].as_strategy())
    def holds(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=_TRUE)

    holds()


def test_the_page_names_the_product_and_loads_nothing_from_elsewhere(service: Any) -> None:
    page = service.http.get("/")
    assert "Driftline" in page.text
    assert "://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert f"./static_content/{asset}" in page.text
        assert service.http.get(f"/static_content/{asset}").status_code == 200


def test_a_client_without_the_document_still_finds_it(service: Any, tmp_path: Path) -> None:
    """BentoML's own schema and client keep working beside it."""
    assert service.http.get("/schema.json").json()["name"] == "driftline"
