"""Untrusted files are read, checked and run in a process with bounds of time and memory."""
