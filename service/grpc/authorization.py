"""The authorizer of gRPC: finds a call's method, or refuses the call before its message is read."""

from access.authorizer import Authorizer
from service.auth.rules import METHODS
from service.grpc.calls import Method, Methods


class MethodAuthorizer:
    """Asks the authorizer for every call; methods that need a model's key ask again by name."""

    def __init__(self, methods: Methods, access: Authorizer, *, admin_elsewhere: bool) -> None:
        """`admin_elsewhere`: whether a port of their own serves the methods for operators."""
        self._methods = methods
        self._access = access
        self._admin_elsewhere = admin_elsewhere

    def authorize(self, path: str, authorization: bytes | None) -> Method | None:
        """The method of this path, None where there is none; raises AccessError."""
        rule = METHODS.get(path)
        self._access.admit("any" if rule is None else rule.scope, authorization)
        if rule is None or (rule.admin and self._admin_elsewhere):
            return None
        return self._methods.get(path)
