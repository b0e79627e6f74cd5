"""Combine a request's Authorization headers, identically for HTTP and gRPC. Pure."""

from collections.abc import Iterable


def join_headers(values: Iterable[bytes]) -> bytes | None:
    """Return the values of all Authorization headers joined by commas, or None if there is none.

    Servers and proxies differ in which of two headers they use, so a second header could bypass a
    check. The joined value, which HTTP defines for repeated headers, is never a valid key.
    """
    headers = list(values)
    return b", ".join(headers) if headers else None
