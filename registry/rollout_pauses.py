"""Rollouts that the monitor paused because of too little data, and their expiry. Pure."""

from typing import NamedTuple

from registry.errors import DamagedRow
from registry.history.lifecycle import LifecycleState
from registry.history.rollout_state import Rollout
from registry.history.rows import RolloutVerdict


class Pause(NamedTuple):
    """A pause by a verdict, which a person can end before the rollout expires."""

    alias: str
    rollout: str  # id of the rollout
    verdict: RolloutVerdict
    expires: int  # microseconds since the epoch


def pauses(state: LifecycleState) -> list[Pause]:
    """Return the current pauses by verdicts of a model's rollouts."""
    candidates = (pause_of(state, rollout) for rollout in state.rollouts.values())
    return [pause for pause in candidates if pause is not None]


def pause_of(state: LifecycleState, rollout: Rollout) -> Pause | None:
    """Return the pause of a rollout, or None unless a verdict paused it."""
    if rollout.phase != "paused" or rollout.policy is None:
        return None
    for row in reversed(state.verdicts):
        # A resume after the verdict increases the rollout's revision; a later pause is a person's.
        if row.evidence == rollout.id and row.revision > rollout.revision:
            try:
                verdict = row.decode(RolloutVerdict)
            except DamagedRow:  # driftline audit verify reports it
                return None
            expires = row.time + int(rollout.bake_s * rollout.policy.expire * 1e6)
            return Pause(rollout.alias, rollout.id, verdict, expires)
    return None
