"""The actor of a command that changes this machine's registry, and the actor's roles.

By default, every user who can write to the home may change the registry. With
`DRIFTLINE_REGISTRY_REQUIRE_KEY`, a command needs a key with the scope of its change.
"""

import grp
import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from access.authorizer import Authorizer
from access.errors import Forbidden, Unauthenticated
from access.keyfile import KeyFile
from access.keys import Scope
from eventlog.errors import SettingError
from eventlog.settings import Home
from registry.settings import requires_key

KEY = "DRIFTLINE_API_KEY"
KEY_FILE = "DRIFTLINE_API_KEY_FILE"


class Actor(NamedTuple):
    """The author of a change, as named in the history, with roles."""

    name: str
    roles: frozenset[str] = frozenset()
    may_promote: bool = True  # whether the actor may promote the first version of a new model


def local_actor(scope: Scope, model: str | None = None) -> Actor:
    """Return the actor of the command; raises Unauthenticated or Forbidden without a valid key."""
    if not requires_key():
        return Actor(f"local:{user_name()}", frozenset(group_names()))
    key = read_key()
    if not key:
        raise Unauthenticated(
            f"this registry requires a key: expected {KEY} or {KEY_FILE} with a key of the scope "
            f"{scope}"
        )
    keys = Authorizer(KeyFile.of(Home.from_environment()), open_without_keys=False)
    header = f"Bearer {key}".encode()
    try:
        keys.admit(scope, header, model)
    except Unauthenticated:
        raise Unauthenticated(f"{KEY}: expected a valid key of this registry") from None
    except Forbidden:
        expected = f"{scope} or {scope}:{model}" if model else scope
        raise Forbidden(
            f"{keys.actor_of(header)} lacks the scope of this change: expected {expected}"
        ) from None
    grant = keys.grant_of(header)
    assert grant is not None
    return Actor(grant.actor, grant.roles, grant.allows("promote", model))


def unused_key_note(actor: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return a warning about an unused key in the environment, or "" if there is no such key."""
    names = [name for name in (KEY, KEY_FILE) if environ.get(name, "").strip()]
    if not names or requires_key():
        return ""
    return (
        f"{names[0]} is not used: without --server, the actor in the history is {actor} "
        "(with DRIFTLINE_REGISTRY_REQUIRE_KEY=true, the key is the actor)"
    )


def read_key(environ: Mapping[str, str] = os.environ) -> str:
    """Return the key in DRIFTLINE_API_KEY or in DRIFTLINE_API_KEY_FILE's file, else ""."""
    if key := environ.get(KEY, "").strip():
        return key
    if not (path := environ.get(KEY_FILE, "")):
        return ""
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "expected one line of ASCII"
        raise SettingError(f"{KEY_FILE}: {path}: {reason}") from None


def user_name() -> str:
    """Return the user of the process; unlike getpass, ignore environment variables."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def group_names() -> list[str]:
    names = []
    for number in {os.getegid(), *os.getgroups()}:
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue  # a group without a name
    return names
