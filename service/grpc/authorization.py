"""Authorize a gRPC call by its path, before its message is read."""

from access.authorizer import Authorizer
from access.browser_guard import BrowserGuard
from service.auth.rules import METHODS
from service.grpc.calls import Method, Methods


class MethodAuthorizer:
    """Find a call's method; methods of one model authorize again once they know its name."""

    def __init__(
        self, methods: Methods, access: Authorizer, guard: BrowserGuard, *, admin_elsewhere: bool
    ) -> None:
        """`admin_elsewhere`: whether an admin port serves the methods for operators."""
        self._methods = methods
        self._access = access
        self._guard = guard
        self._admin_elsewhere = admin_elsewhere

    @staticmethod
    def is_open(path: str) -> bool:
        """Return whether the method of a path needs no key."""
        rule = METHODS.get(path)
        return rule is not None and rule.scope == "open"

    def authorize(
        self, path: str, authorization: bytes | None, origin: bytes | None = None
    ) -> Method | None:
        """Return the method of a path, or None if there is none; raises AccessError.

        `origin` is what a browser states with every POST; a gRPC client never does.
        """
        rule = METHODS.get(path)
        scope = "any" if rule is None else rule.scope
        self._access.admit(scope, authorization)
        if origin is not None and scope != "open" and self._access.is_open:
            self._guard.check_origin(origin)
        if rule is None or (rule.admin and self._admin_elsewhere):
            return None
        return self._methods.get(path)
