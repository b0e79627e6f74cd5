"""Every statement that the monitor runs on its database, by subject."""
