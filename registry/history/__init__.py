"""The registry's append-only history: its rows, the state derived from them, and its database."""
