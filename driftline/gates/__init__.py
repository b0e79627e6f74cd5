"""Run the gates of a version in a process of their own, and the commands `gates` and `gate`."""
