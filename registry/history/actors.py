"""The actor of a history row, and the person behind it.

| actor | meaning |
| --- | --- |
| `key:NAME` | the owner of an API key; keys of the same name are the same actor |
| `oidc:SUBJECT` | the subject of a token of an identity provider |
| `cert:NAME` | the common name of a client certificate |
| `local:USER` | a user of the machine on which a command ran |
| anything else | a part of Driftline, or a user in a row of an earlier release |
"""

KINDS = frozenset({"key", "oidc", "cert", "local"})


def person_of(actor: str) -> str:
    """Return the name that identifies a person in four-eyes checks.

    An account and a key of the same name belong to the same person.
    """
    kind, _, name = actor.partition(":")
    return name if name and kind in KINDS else actor
