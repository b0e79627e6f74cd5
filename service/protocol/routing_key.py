"""The routing key in a header or in gRPC metadata. Pure."""

ROUTING_KEY = b"driftline-routing-key"


def read_key(value: bytes) -> str:
    """Return the key that a header's value states: that of a parameter with the same text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
