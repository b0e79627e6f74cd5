"""Limits of both gRPC servers that are not settings."""

LONGEST_METADATA = 16_384  # bytes of a call's names and values; REST has the same limit
LONGEST_OPEN_MESSAGE = 4_096  # bytes of a message to a method that needs no key
MOST_STREAMS = 128  # concurrent calls of a connection; zttp's own limit
MOST_OPEN_CALLS = 1_024  # concurrent calls of methods that need no key, per worker

# grpcio has one limit of message size for all methods, so it has fewer open calls, for less time.
MOST_OPEN_AIO_CALLS = 128
OPEN_MESSAGE_S = 5.0
MOST_AWAITED_OPEN_MESSAGES = 16  # each may be as large as the limit
# A deadline for the message costs a call a tenth more, so calls have it while many wait.
MOST_AWAITED_MESSAGES = 64
LONGEST_AIO_CONNECTION_S = 3_600  # then the client is asked to connect again
