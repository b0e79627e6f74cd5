"""`make compare`: what a request costs here and with other servers, on one machine in one run."""
