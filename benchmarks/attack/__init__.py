"""Attack a service on loopback, and measure the effect on honest clients (`make attack`)."""
