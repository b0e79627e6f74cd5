"""What a load generator saw, whichever it was."""

import msgspec


class Load(msgspec.Struct, frozen=True):
    """Closed loop: one request in flight per connection; times in the unit of their name."""

    answered: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float
    generator_cpu_s: float
