"""Compare the cost of a request with other servers, on one machine in one run: `make compare`."""
