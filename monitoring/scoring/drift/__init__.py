"""Detection of drift from the reference, per column and for the window as a whole."""
