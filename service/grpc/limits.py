"""Limits of both gRPC servers that are not settings."""

LONGEST_METADATA = 16_384  # bytes of a call's names and values; REST has the same limit
