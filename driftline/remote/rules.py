"""The scope that each route of the registry server requires. Unlisted routes are refused."""

import re
from collections.abc import Iterable

import msgspec
from starlette.routing import compile_path

from access.keys import Grant, Scope
from driftline.changes import CHANGES

_MODEL = "/v1/registry/models/{model}"
# A caller that may change a model may read its history.
READERS: tuple[Scope, ...] = ("read", "register", "approve", "promote", "admin", "operate")

# The path names no model, so the handler checks these scopes for the report's model.
REPORT_READERS: tuple[Scope, ...] = ("read", "approve", "register")


class RemoteRule(msgspec.Struct, frozen=True):
    """The scopes of a route; a caller needs one of them, for the path's model if it names one."""

    scopes: tuple[Scope, ...]


ROUTES: dict[tuple[str, str], RemoteRule] = {
    ("GET", "/health"): RemoteRule(("open",)),
    ("GET", "/v1/registry/models"): RemoteRule(("read",)),
    ("GET", "/v1/registry/workers"): RemoteRule(READERS),
    ("GET", "/v1/registry/reports/{digest}"): RemoteRule(REPORT_READERS),
    ("PUT", "/v1/registry/uploads/{digest}"): RemoteRule(("register",)),
    ("GET", "/v1/registry/jobs/{job}"): RemoteRule(("register",)),
    ("GET", "/v1/registry/rows"): RemoteRule(("read",)),
    ("GET", "/v1/registry/schedules"): RemoteRule(("read",)),
    ("GET", f"{_MODEL}/history"): RemoteRule(READERS),
    ("GET", f"{_MODEL}/versions"): RemoteRule(READERS),
    ("POST", f"{_MODEL}/versions"): RemoteRule(("register",)),
    ("POST", f"{_MODEL}/gate"): RemoteRule(("register",)),
    **{
        ("POST", f"{_MODEL}/{change.name}"): RemoteRule((change.scope,))
        for change in CHANGES.values()
    },
}


def allows_any(grant: Grant, scopes: Iterable[Scope], model: str | None) -> bool:
    """Return whether a grant has one of the scopes for `model`, or for any model if it is None."""
    return any(grant.allows(scope, model) for scope in scopes)


class RemoteMatch(msgspec.Struct, frozen=True):
    """The rule of a request, and the model in its path."""

    rule: RemoteRule
    model: str | None


_PATTERNS: list[tuple[str, re.Pattern[str], RemoteRule]] = [
    (method, compile_path(template)[0], rule) for (method, template), rule in ROUTES.items()
]


def match_remote_rule(method: str, path: str) -> RemoteMatch | None:
    """Return the rule of a request, matched like the router's routes; None if no rule matches."""
    for rule_method, pattern, rule in _PATTERNS:
        if method == rule_method and (match := pattern.match(path)):
            return RemoteMatch(rule, match.groupdict().get("model"))
    return None
