"""Point an alias back at an earlier version, and bar the content of the current version."""

from collections.abc import Callable
from typing import NamedTuple

from registry.errors import UnknownVersion, VersionRefused
from registry.history.lifecycle import LifecycleState
from registry.history.rows import HistoryRow
from registry.history.store import History


class Rollback(NamedTuple):
    """The result of a rollback."""

    revision: int
    before: str  # version to which the alias pointed before
    number: str  # version to which the alias points now
    barred: bool  # whether the content of `before` was barred


def earlier_version(state: LifecycleState, model: str, alias: str) -> str:
    """Return the latest version to which an alias pointed earlier and can point again.

    Raises VersionRefused if there is none.
    """
    now = state.aliases.get(alias, "")
    refused = state.barred.keys() | state.rejected.keys()
    for row in reversed(state.alias_changes):
        if row.alias == alias and row.number != now and state.digest_of(row.number) not in refused:
            return row.number
    raise VersionRefused(
        f"{alias} of {model} has no earlier version to roll back to; point it at a version with "
        "driftline promote"
    )


def roll_back(  # noqa: PLR0913  # one argument per field of a row
    history: History,
    model: str,
    alias: str,
    number: str,
    *,
    expected_revision: int,
    actor: str,
    why: str,
    bar: bool = True,
    evidence: str = "",
    clock: Callable[[], int] | None = None,
) -> Rollback:
    """Point the alias at an earlier version; if `bar`, bar the content of the current version.

    Both happen in one transaction. Raises VersionRefused, or RegistryConflict if the model changed
    after `expected_revision`.
    """
    now = (clock or history.time_ns)() // 1_000
    done = Rollback(0, "", number, barred=False)

    def decide(state: LifecycleState) -> list[HistoryRow]:
        nonlocal done
        before = state.aliases.get(alias, "")
        if not any(row.alias == alias and row.number == number for row in state.alias_changes):
            raise VersionRefused(f"{alias} of {model} never pointed to version {number}")
        if number == before:
            raise VersionRefused(f"{alias} of {model} is already version {number}")
        if state.digest_of(number) in state.barred.keys() | state.rejected.keys():
            raise VersionRefused(f"{alias} of {model}: {state.refusal(alias, number, now)}")
        fields = {"evidence": evidence, "why": why}
        rows = [HistoryRow(0, model, "rolled_back", number, now, actor, alias, **fields)]
        digest = state.digest_of(before)
        # If both versions have the same content, it must not be barred.
        barred = bar and bool(digest) and digest != state.digest_of(number)
        if barred:
            rows.append(HistoryRow(0, model, "barred", before, now, actor, digest=digest, **fields))
        done = Rollback(0, before, number, barred)
        return rows

    revision = history.append(model, decide, expected_revision=expected_revision)
    return done._replace(revision=revision)


def unbar(history: History, model: str, number: str, *, actor: str, why: str) -> int:
    """Remove the bar of a version's content; return the revision."""
    now = history.time_ns() // 1_000

    def decide(state: LifecycleState) -> list[HistoryRow]:
        digest = state.digest_of(number)
        if digest not in state.barred:
            raise UnknownVersion(f"version {number} of {model} is not barred")
        return [HistoryRow(0, model, "unbarred", number, now, actor, digest=digest, why=why)]

    return history.append(model, decide)
