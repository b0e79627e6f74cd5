"""A change of the registry: its parameters, the scope that it requires, and its result."""

from typing import ClassVar

import msgspec

from access.keys import Scope
from driftline.local_actor import Actor
from eventlog.settings import Home
from registry.history.rollout_state import Rollout


class ChangeResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a change."""

    revision: int  # revision of the registry after the change
    actor: str
    number: str = ""  # number of the version
    before: str = ""  # version that the alias named before
    barred: bool = False
    report: str = ""  # digest of the gate report that a decision refers to
    known: bool = True  # whether the model has a version
    rollout: Rollout | None = None
    rows: int = 0  # rows of a chosen baseline
    changed: bool = True  # False if the registry already was in the requested state
    note: str = ""  # reason why a following step, such as a rollout, did not start


class RegistryChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a model."""

    name: ClassVar[str]
    scope: ClassVar[Scope]
    why: str = ""

    def apply(self, home: Home, model: str, actor: Actor) -> ChangeResult:
        """Append the change to the history; raises a RegistryError if it is refused."""
        raise NotImplementedError
