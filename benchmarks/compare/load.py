"""The result of a load generator."""

import msgspec


class ClosedLoopResults(msgspec.Struct, frozen=True):
    """Results of a closed loop with one request in flight per connection."""

    answered: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float
    generator_cpu_s: float
