"""Bounds and ids of notes, whether the page or a command writes them."""

import secrets

LONGEST_NOTE = 2_000  # characters
MOST_NOTES = 200  # on one window or alarm


def new_note_id() -> str:
    """Return an id that no other note has."""
    return f"no_{secrets.token_hex(6)}"
