"""Rollouts that the monitor paused for want of data, and when they end. Pure."""

from typing import NamedTuple

from registry.errors import DamagedRow
from registry.history.rollout_state import Rollout
from registry.history.rows import RolloutVerdict
from registry.history.state import LifecycleState


class Pause(NamedTuple):
    """A pause by verdict, which a person may end before it expires."""

    alias: str
    rollout: str  # id
    verdict: RolloutVerdict
    expires: int  # microseconds since the epoch


def pauses(state: LifecycleState) -> list[Pause]:
    """Return the pauses of a model's rollouts that verdicts began and that have not ended."""
    candidates = (pause_of(state, rollout) for rollout in state.rollouts.values())
    return [pause for pause in candidates if pause is not None]


def pause_of(state: LifecycleState, rollout: Rollout) -> Pause | None:
    """Return the pause of a rollout; None unless a verdict paused it."""
    if rollout.phase != "paused" or rollout.policy is None:
        return None
    for row in reversed(state.verdicts):
        # What was resumed since, and then paused by a person, is at a later revision.
        if row.evidence == rollout.id and row.revision > rollout.revision:
            try:
                verdict = row.decode(RolloutVerdict)
            except DamagedRow:  # driftline audit verify names it
                return None
            expires = row.time + int(rollout.bake_s * rollout.policy.expire * 1e6)
            return Pause(rollout.alias, rollout.id, verdict, expires)
    return None
