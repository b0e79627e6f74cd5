"""The pure part: no clock, no files, no sockets. Events in, decisions out."""
