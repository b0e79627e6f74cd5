"""Limits of both gRPC servers that are not settings."""

LONGEST_METADATA = 16_384  # bytes of a call's names and values; REST has the same limit
LONGEST_OPEN_MESSAGE = 4_096  # bytes of a message to a method that needs no key
MOST_OPEN_CALLS = 1_024  # concurrent calls of methods that need no key, per worker
