"""The monitor's API as an OpenAPI document, and the page that shows it.

Paths and methods are taken from the routes, summaries from the handlers' docstrings. This module
adds the schemas of replies, bodies and query parameters.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from access.openapi import Operation, Schema, describe_api
from monitoring.comparisons import VersionComparison
from monitoring.notes import LONGEST_NOTE
from monitoring.presenter.headline import Headline
from monitoring.presenter.retrain_loop import RetrainLoop
from monitoring.presenter.schedule_text import ScheduleView
from monitoring.results import Alarm, Note, PartitionHolder, Result, Silence, SourceLedger
from monitoring.retrain.validation import ValidationReport
from monitoring.review_desk.items import ReviewItem
from monitoring.review_desk.leases import MOST as MOST_LEASED
from monitoring.web.api import PARQUET, json_response
from monitoring.web.example_rows import CHOICES
from monitoring.web.overview import EventBalance
from monitoring.web.pages import page
from monitoring.web.policy_view import PolicyPeriodView
from monitoring.web.rollouts import AliasPanel
from monitoring.web.sampled_inputs import SampledInputView
from registry.gates.outcomes import GateReport
from registry.history.rollout_state import Rollout
from registry.history.rows import HistoryRow
from registry.history.shadow_state import Shadow
from registry.pending_approvals import PendingApproval

_ABOUT = (
    "The content of the monitor's pages, for programs. Times are in microseconds since the epoch. "
    "Send an API key as a bearer token, or as the password of HTTP Basic."
)
_VERSION = "/api/models/{model}/versions/{version}"
_INTEGER: Schema = {"type": "integer"}
_TEXT: Schema = {"type": "string"}


class VersionReply(msgspec.Struct):
    """A model version with its latest window."""

    model: str
    version: str
    owner: str
    tags: list[str]
    aliases: list[str]
    rollout: Rollout | None
    shadow: Shadow | None
    latest: Result | None
    filling: Result | None
    alarms: list[Alarm]


class OverviewReply(msgspec.Struct):
    """The content of the status page."""

    headline: Headline
    ledger: EventBalance
    models: list[VersionReply]
    alarms: list[Alarm]
    stopped: list[str]


class HeldPartition(PartitionHolder, frozen=True):
    """A partition, and whether its monitor reported it recently."""

    held: bool


class LedgerReply(msgspec.Struct):
    """Event counters, and the holder of each partition."""

    all: EventBalance
    sources: list[SourceLedger]
    totals: dict[str, int]
    partitions: list[HeldPartition] = []  # empty if the log is not divided


class HealthReply(msgspec.Struct):
    """The state of scoring, and the number of windows that wait for scores."""

    status: str
    waiting_scores: int = 0
    oldest_waiting_score_seconds: float = 0.0


class ReviewReply(msgspec.Struct):
    """Rows that are leased to the caller, and the number of the model's undecided rows."""

    model: str
    waiting: int
    rows: list[ReviewItem]


class ReviewedReply(msgspec.Struct):
    """The number of recorded decisions, and their author."""

    recorded: int
    actor: str


class ChangedReply(msgspec.Struct):
    """The registry's revision after a change, and the change's author."""

    revision: int
    actor: str


_DELIVERY: Schema = {"type": "object", "description": "A webhook with its body and attempts."}
_DECISION: Schema = {
    "type": "object",
    "required": ["decision", "digest"],
    "properties": {
        "decision": {"enum": ["approve", "reject"]},
        "why": _TEXT,
        "digest": {"type": "string", "description": "Digest of the version to decide on."},
        "report": {
            "type": "string",
            "description": "Digest of the gate report that you have read.",
        },
    },
}
_SILENCE: Schema = {
    "type": "object",
    "required": ["for", "reason"],
    "properties": {"for": {"type": "string", "description": "Such as 24h."}, "reason": _TEXT},
}
_NOTE: Schema = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"type": "string", "minLength": 1, "maxLength": LONGEST_NOTE}},
}
_REVIEWED: Schema = {
    "type": "object",
    "description": "One decision, or a list of them.",
    "required": ["action"],
    "properties": {
        "prediction_id": _TEXT,
        "row": {**_INTEGER, "default": 0},
        "action": {"enum": ["accept", "correct", "skip", "undo"]},
        "label": {"description": "With correct: the label, a class or a number."},
        "why": _TEXT,
    },
}
_ROLLOUT: Schema = {
    "type": "object",
    "required": ["action", "why"],
    "properties": {
        "action": {"enum": ["pause", "resume", "advance", "promote", "abort", "rollback"]},
        "why": _TEXT,
        "expected": {"type": "string", "description": "Id of the rollout to change."},
        "bar": {
            "type": "boolean",
            "description": "Bar the content. Default: true with rollback, else false.",
        },
        "number": {"type": "string", "description": "With rollback: the version to return to."},
        "revision": {
            "type": "integer",
            "description": "With rollback: the newest revision of the model that you have seen.",
        },
    },
}
_EXAMPLES = f"{_VERSION}/windows/{{start:whole}}/examples"
_EXAMPLES_QUERY: Mapping[str, Schema] = {
    "show": {"enum": list(CHOICES)},
    "where": {"type": "string", "description": "COLUMN=VALUE: only the rows of this group."},
}
_ROLLOUT_PATH = "/api/models/{model}/rollouts/{alias}"
# Schemas of replies, by the path of the route.
REPLIES: Mapping[str, Any] = {
    "/health": HealthReply,
    "/metrics": _TEXT,
    "/api/overview": OverviewReply,
    "/api/models": list[VersionReply],
    f"{_VERSION}/results": list[Result],
    f"{_VERSION}/policies": list[PolicyPeriodView],
    f"{_VERSION}/windows/{{start:whole}}": Result,
    f"{_VERSION}/windows/{{start:whole}}/samples": list[SampledInputView],
    _EXAMPLES: {"type": "array", "items": {"type": "object"}},
    "/api/alarms": list[Alarm],
    "/api/alarms/{alarm_id}/acknowledge": {"type": "object"},
    "/api/alarms/{alarm_id}/resolve": {"type": "object"},
    "/api/ledger": LedgerReply,
    "/api/deliveries": {"type": "array", "items": _DELIVERY},
    "/api/retraining": list[RetrainLoop],
    "/api/schedules": list[ScheduleView],
    "/api/retraining/{request}/validation": ValidationReport,
    "/api/approvals": list[PendingApproval],
    "/api/approvals/{model}/{number}/{alias}": {"type": "object"},
    "/api/gate-reports/{digest}": GateReport,
    "/api/models/{model}/compare/{first}/{second}": VersionComparison,
    f"{_VERSION}/batch": {"type": "array", "items": {"type": "object"}},
    "/api/models/{model}/traffic": {"type": "object"},
    "/api/models/{model}/history": list[HistoryRow],
    "/api/predictions/{prediction_id}": {"type": "object"},
    "/api/silences": list[Silence],
    "/api/silences/{silence_id}/end": Silence,
    "/api/alarms/{alarm_id}/silence": Silence,
    f"{_VERSION}/notes": list[Note],
    f"{_VERSION}/windows/{{start:whole}}/notes": Note,
    "/api/alarms/{alarm_id}/notes": Note,
    "/api/notes/{note_id}/delete": {"type": "object"},
    "/v1/review": ReviewReply,
    _ROLLOUT_PATH: AliasPanel,
}
# Schemas of replies to POST, for paths whose GET has a different reply.
_POST_REPLIES: Mapping[str, Any] = {"/v1/review": ReviewedReply, _ROLLOUT_PATH: ChangedReply}
_MEDIA_TYPES = {
    ".parquet": PARQUET,
    ".csv": "text/csv",
    ".png": "image/png",
    "/metrics": "text/plain",
}
_BINARY: Schema = {"type": "string", "format": "binary"}
_QUERIES: Mapping[str, Mapping[str, Schema]] = {
    f"{_VERSION}/results": {"last": {**_INTEGER, "minimum": 0}, "before": _INTEGER},
    "/v1/review": {"model": _TEXT, "limit": {**_INTEGER, "minimum": 1, "maximum": MOST_LEASED}},
    _EXAMPLES: _EXAMPLES_QUERY,
    f"{_EXAMPLES}.csv": _EXAMPLES_QUERY,
    f"{_EXAMPLES}.parquet": _EXAMPLES_QUERY,
}
_BODIES: Mapping[str, Schema] = {
    "/api/approvals/{model}/{number}/{alias}": _DECISION,
    "/api/alarms/{alarm_id}/silence": _SILENCE,
    "/api/alarms/{alarm_id}/notes": _NOTE,
    f"{_VERSION}/windows/{{start:whole}}/notes": _NOTE,
    "/v1/review": _REVIEWED,
    _ROLLOUT_PATH: _ROLLOUT,
}
_SENTENCE = re.compile(r"(.*?\.)(?:\s|$)", re.DOTALL)


def describe(release: str, described: Iterable[BaseRoute]) -> dict[str, Any]:
    """Return the OpenAPI document of the API's routes among `described`."""
    routes: dict[str, list[Operation]] = {}
    for route in described:
        if isinstance(route, Route) and _is_api(route.path):
            routes.setdefault(route.path, []).append(_operation(route))
    return describe_api("Driftline monitor", release, _ABOUT, routes)


def routes(version: str, described: Iterable[BaseRoute]) -> list[Route]:
    """Return the routes of the OpenAPI document of `described`, and of the page that shows it."""
    document = describe(version, described)

    async def as_json(_: Request) -> Response:
        """Return the OpenAPI document."""
        return json_response(document)

    async def as_page(request: Request) -> Response:
        """Show the OpenAPI document as a page."""
        return page(request, "api.html", rows=_rows(document), about=_ABOUT)

    return [Route("/openapi.json", as_json), Route("/api", as_page)]


def _is_api(path: str) -> bool:
    return path.startswith(("/api/", "/v1/")) or path in {"/health", "/metrics"}


def _operation(route: Route) -> Operation:
    methods = route.methods or set()
    changes = "POST" in methods
    media_type = next(
        (kind for end, kind in _MEDIA_TYPES.items() if route.path.endswith(end)), "application/json"
    )
    reply = REPLIES.get(route.path, {} if media_type == "application/json" else _BINARY)
    if changes:
        reply = _POST_REPLIES.get(route.path, reply)
    return Operation(
        summary=_summary(route),
        tag=_tag(route.path),
        scope=_scope(route.path, changes=changes),
        method="post" if changes else "get",
        reply=reply,
        media_type=media_type,
        body=_BODIES.get(route.path) if changes else None,
        query=_QUERIES.get(route.path, {}),
    )


def _scope(path: str, *, changes: bool) -> str:
    if path == "/health":
        return "open"
    if path.startswith("/v1/review"):
        return "review"
    if not changes:
        return "read"
    if path == _ROLLOUT_PATH:
        return "promote"
    return "approve" if path.startswith("/api/approvals/") else "operate"


def _summary(route: Route) -> str:
    match = _SENTENCE.match(" ".join((route.endpoint.__doc__ or "").split()))
    return match[1].rstrip(".") if match else route.path


def _tag(path: str) -> str:
    parts = path.strip("/").split("/")
    return parts[1] if parts[0] in {"api", "v1"} else "process"


class _Row(msgspec.Struct, frozen=True):
    method: str
    path: str
    summary: str
    parameters: list[str]
    scope: str


def _rows(document: Mapping[str, Any]) -> list[_Row]:
    rows = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            names = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"]
            scope = re.search(r"scope `(\w+)`", operation.get("description", ""))
            summary = operation["summary"].replace("`", "")
            rows.append(_Row(method.upper(), path, summary, names, scope[1] if scope else "none"))
    return sorted(rows, key=lambda row: row.path)
