"""The registry over HTTP: the server `driftline registry serve`, and the client for `--server`."""
