"""Authorize a gRPC call by its path, before its message is read."""

from access.authorizer import Authorizer
from access.browser_guard import BrowserGuard
from service.auth.rules import METHODS
from service.grpc.calls import Method, Methods


class MethodAuthorizer:
    """The lookup of a call's method, with a check of the call's key.

    Methods that need a scope for one model check the key again once the model's name is known.
    """

    def __init__(
        self, methods: Methods, access: Authorizer, guard: BrowserGuard, *, admin_elsewhere: bool
    ) -> None:
        """`admin_elsewhere`: whether the methods for operators are only on the admin port."""
        self._methods = methods
        self._access = access
        self._guard = guard
        self._admin_elsewhere = admin_elsewhere

    @staticmethod
    def is_open(path: str) -> bool:
        """Return whether a path's method needs no key."""
        rule = METHODS.get(path)
        return rule is not None and rule.scope == "open"

    def authorize(
        self, path: str, authorization: bytes | None, origin: bytes | None = None
    ) -> Method | None:
        """Return a path's method, None if it does not exist here; raises AccessError.

        `origin` is the Origin header, which browsers send with every POST and gRPC clients do not.
        """
        rule = METHODS.get(path)
        scope = "any" if rule is None else rule.scope
        self._access.admit(scope, authorization)
        if origin is not None and scope != "open" and self._access.is_open:
            self._guard.check_origin(origin)
        if rule is None or (rule.admin and self._admin_elsewhere):
            return None
        return self._methods.get(path)
