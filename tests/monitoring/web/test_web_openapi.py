"""The monitor's OpenAPI document: complete, true and readable."""

from collections.abc import Iterator
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from schemathesis import checks

from monitoring.storage.store import Store
from monitoring.web.api_description import REPLIES
from monitoring.web.app import app
from monitoring.web.server import serving
from tests.monitoring.web.conftest import FIRST, a_busy_store, written_to

_TRUE = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
_WITHOUT_SCHEMA = (".parquet", ".png", ".csv")
_THERE = {"model": "flights", "version": "1", "start": str(FIRST)}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    where = tmp_path_factory.mktemp("home") / "monitor.db"
    written_to(where, a_busy_store())
    reports = tmp_path_factory.mktemp("reports")
    with (
        serving(app(lambda: Store(where), reports), "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def document(page: httpx.Client) -> Any:
    return page.get("/openapi.json").raise_for_status().json()


def test_every_reply_is_described(document: Any) -> None:
    paths = {path for path in document["paths"] if not path.endswith(_WITHOUT_SCHEMA)}
    assert paths == {path.replace(":whole", "") for path in REPLIES}


def test_a_running_page_answers_as_described(page: httpx.Client, document: Any) -> None:
    api = schemathesis.openapi.from_dict(document)
    api.config.update(base_url=str(page.base_url))
    operations = [
        (path, method) for path, several in document["paths"].items() for method in several
    ]
    for path, method in operations:

        @hypothesis.settings(max_examples=6, deadline=None, derandomize=True, database=None)
        @hypothesis.given(
            case=api[path][method].as_strategy(), there=hypothesis.strategies.booleans()
        )
        def holds(case: schemathesis.Case, there: bool) -> None:
            if there:
                named = case.path_parameters
                named.update({name: _THERE[name] for name in named if name in _THERE})
            case.call_and_validate(checks=_TRUE)

        holds()


def test_replies_match_their_schemas(page: httpx.Client, document: Any) -> None:
    api = schemathesis.openapi.from_dict(document)
    for path in document["paths"]:
        if "get" in document["paths"][path]:
            reply = page.get(path.format(**dict.fromkeys(_PARAMETERS, "x") | _THERE))
            api[path]["get"].validate_response(reply)


_PARAMETERS = (
    "place",
    "request",
    "digest",
    "first",
    "second",
    "alarm_id",
    "alias",
    "prediction_id",
)


def test_the_page_lists_every_route(page: httpx.Client, document: Any) -> None:
    shown = page.get("/api").raise_for_status().text
    for path in document["paths"]:
        assert path in shown
