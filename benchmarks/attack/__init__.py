"""Attack a service on loopback, and measure what its honest clients notice (`make attack`)."""
