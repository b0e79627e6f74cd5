"""Authorize a gRPC call by its path, before its message is read."""

from access.authorizer import Authorizer
from service.auth.rules import METHODS
from service.grpc.calls import Method, Methods


class MethodAuthorizer:
    """Find a call's method; methods of one model authorize again once they know its name."""

    def __init__(self, methods: Methods, access: Authorizer, *, admin_elsewhere: bool) -> None:
        """`admin_elsewhere`: whether an admin port serves the methods for operators."""
        self._methods = methods
        self._access = access
        self._admin_elsewhere = admin_elsewhere

    def authorize(self, path: str, authorization: bytes | None) -> Method | None:
        """Return the method of a path, or None if there is none; raises AccessError."""
        rule = METHODS.get(path)
        self._access.admit("any" if rule is None else rule.scope, authorization)
        if rule is None or (rule.admin and self._admin_elsewhere):
            return None
        return self._methods.get(path)
