"""Score closed windows against the reference, in a process of its own."""
