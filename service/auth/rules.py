"""The scope that each REST route and gRPC method requires. Unlisted routes are refused.

- open: no key, for health probes
- any: any valid key
- predict: a key with the scope `predict` for the named model or for all models
- read, operate: a key with this scope; see docs/security.md
"""

import re
from typing import Literal

import msgspec
from starlette.routing import compile_path

from access.keys import Scope


class Rule(msgspec.Struct, frozen=True):
    """The scope that a route or method requires."""

    scope: Scope
    admin: bool = False  # served on the admin port only, if there is one
    method: Literal["GET", "POST"] = "GET"  # only for REST; GET includes HEAD


_MODEL = "/v2/models/{model}"
_VERSION = f"{_MODEL}/versions/{{version}}"
_REPOSITORY = "/v2/repository"

ROUTES: dict[str, Rule] = {
    "/livez": Rule("open"),
    "/healthz": Rule("open"),
    "/readyz": Rule("open"),
    "/v2/health/live": Rule("open"),
    "/v2/health/ready": Rule("open"),
    f"{_MODEL}/ready": Rule("open"),
    f"{_VERSION}/ready": Rule("open"),
    "/v2": Rule("any"),
    "/v2/models/stats": Rule("read", admin=True),  # before _MODEL, which also matches this path
    f"{_MODEL}/stats": Rule("read", admin=True),
    f"{_VERSION}/stats": Rule("read", admin=True),
    _MODEL: Rule("predict"),
    _VERSION: Rule("predict"),
    f"{_MODEL}/config": Rule("predict"),
    f"{_VERSION}/config": Rule("predict"),
    f"{_MODEL}/infer": Rule("predict", method="POST"),
    f"{_VERSION}/infer": Rule("predict", method="POST"),
    "/predict": Rule(
        "predict", method="POST"
    ),  # the body names the model, so the handler authorizes again
    "/v1/feedback": Rule("predict", method="POST"),
    f"{_REPOSITORY}/index": Rule("read", admin=True, method="POST"),
    f"{_REPOSITORY}/models/{{model}}/load": Rule("operate", admin=True, method="POST"),
    f"{_REPOSITORY}/models/{{model}}/unload": Rule("operate", admin=True, method="POST"),
    "/metrics": Rule("read", admin=True),
    "/": Rule("any", admin=True),  # the API page; its document, schema and assets follow
    "/docs.json": Rule("any", admin=True),
    "/schema.json": Rule("any", admin=True),
    "/static_content/{path:path}": Rule("any", admin=True),
}

# These routes reply even if the maximum number of connections is open.
PROBES = [path for path, rule in ROUTES.items() if rule.scope == "open" and "{" not in path]

_INFERENCE = "/inference.GRPCInferenceService"
_REFLECTION = "/grpc.reflection"
_HEALTH = "/grpc.health.v1.Health"

METHODS: dict[str, Rule] = {
    f"{_HEALTH}/Check": Rule("open"),
    f"{_HEALTH}/Watch": Rule("open"),
    f"{_INFERENCE}/ServerLive": Rule("open"),
    f"{_INFERENCE}/ServerReady": Rule("open"),
    f"{_INFERENCE}/ModelReady": Rule("open"),
    f"{_INFERENCE}/ServerMetadata": Rule("any"),
    f"{_INFERENCE}/ModelMetadata": Rule("predict"),
    f"{_INFERENCE}/ModelConfig": Rule("predict"),
    f"{_INFERENCE}/ModelInfer": Rule("predict"),
    f"{_INFERENCE}/ModelStreamInfer": Rule("predict"),
    f"{_INFERENCE}/ModelStatistics": Rule("read", admin=True),
    f"{_INFERENCE}/RepositoryIndex": Rule("read", admin=True),
    f"{_INFERENCE}/RepositoryModelLoad": Rule("operate", admin=True),
    f"{_INFERENCE}/RepositoryModelUnload": Rule("operate", admin=True),
    f"{_REFLECTION}.v1.ServerReflection/ServerReflectionInfo": Rule("any"),
    f"{_REFLECTION}.v1alpha.ServerReflection/ServerReflectionInfo": Rule("any"),
}


class RuleMatch(msgspec.Struct, frozen=True):
    """A rule and the model in the path, if the path names one."""

    rule: Rule
    model: str | None


_PATTERNS: list[tuple[re.Pattern[str], Rule]] = [
    (compile_path(template)[0], rule) for template, rule in ROUTES.items()
]


def match_rule(path: str) -> RuleMatch | None:
    """Return the rule of the first route that matches a REST path, None if no route matches."""
    for pattern, rule in _PATTERNS:
        if match := pattern.match(path):
            return RuleMatch(rule, match.groupdict().get("model"))
    return None
