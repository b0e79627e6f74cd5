"""Models, versions and aliases: what is registered, and which version a name means."""
