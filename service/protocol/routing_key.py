"""The routing key in an HTTP header or gRPC metadata. Pure."""

ROUTING_KEY = b"driftline-routing-key"


def read_key(value: bytes) -> str:
    """Return the routing key in a header's value, as UTF-8 or otherwise as Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
