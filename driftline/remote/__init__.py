"""The registry over HTTP: `driftline registry serve`, and the client of `--server URL`."""
