"""Count what the rows of a window hold: exact, mergeable, independent of their order."""
