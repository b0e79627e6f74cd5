"""The append-only history of the registry: rows, the state that follows, and its database."""
