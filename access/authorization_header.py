"""Read the Authorization header of a request, the same way for every transport. Pure."""

from collections.abc import Iterable


def joined(values: Iterable[bytes]) -> bytes | None:
    """Return the values of all Authorization headers as one, or None without any.

    Which of two headers counts differs between servers and proxies, and one could hide the other.
    HTTP's rule for repeated headers joins them with a comma; the result is not a valid key.
    """
    headers = list(values)
    return b", ".join(headers) if headers else None
