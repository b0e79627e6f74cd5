"""Limits of both gRPC servers that are not settings."""

LONGEST_METADATA = 16_384  # bytes of a call's metadata; REST has the same limit
LONGEST_OPEN_MESSAGE = 4_096  # bytes of a message to a method that needs no key
MOST_STREAMS = 128  # concurrent calls of a connection; zttp has the same limit
MOST_OPEN_CALLS = 1_024  # concurrent calls of methods that need no key, per worker


# The aio server has one limit of message size for all methods. So it allows fewer calls without a
# key, and they have less time.
MOST_OPEN_AIO_CALLS = 128  # concurrent calls of methods that need no key, per worker
OPEN_MESSAGE_S = 5.0  # timeout for the message of a call without a key
MOST_AWAITED_OPEN_MESSAGES = 16  # calls without a key whose message has not arrived
# A timeout for the message makes a call 10 % slower, so calls have it only above this number of
# calls whose message has not arrived.
MOST_AWAITED_MESSAGES = 64
LONGEST_AIO_CONNECTION_S = 3_600  # age at which the server asks the client to reconnect
