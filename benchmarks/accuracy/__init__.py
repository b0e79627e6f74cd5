"""How often the monitor cries wolf, and how soon it sees what was planted: `make accuracy`."""
