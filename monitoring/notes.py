"""Limits and ids of the notes that people write on the status page or by a command."""

import secrets

LONGEST_NOTE = 2_000  # characters
MOST_NOTES = 200  # for one window or alarm


def new_note_id() -> str:
    """Return a new unique id."""
    return f"no_{secrets.token_hex(6)}"
