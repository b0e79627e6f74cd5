"""Everything that decides whether and how retraining is asked for lives here.

An alarm that fires asks once, and while any alarm of a model version is open no second request for
it goes out; a request that nobody received yet gives way to a later one of the same version. A
fault of serving is no reason to train, and what to do about groups that are treated unlike is for
people to say: such alarms neither ask nor hold others up.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import get_args

from eventlog.log import Position
from monitoring.alarms.decision import breached, worst
from monitoring.results import (
    SELECTION_GAP,
    TRUE_POSITIVE_GAP,
    Alarm,
    Result,
    RetrainRequest,
    Rule,
)

_NEVER = ("parity", SELECTION_GAP, TRUE_POSITIVE_GAP)
_MOST = 100  # columns in a request: some receivers take 64 KB at most
RULES: tuple[Rule, ...] = tuple(rule for rule in get_args(Rule) if rule not in _NEVER)


def wanted(fired: Sequence[Alarm], open_before: int) -> Alarm | None:
    """The newly fired alarm that asks for retraining.

    `open_before` alarms of the rules above were open already.
    """
    if open_before:
        return None
    return next((alarm for alarm in fired if alarm.rule in RULES), None)


def request(
    alarm: Alarm, result: Result, *, digest: str, positions: Mapping[str, Position], rows_url: str
) -> RetrainRequest:
    """What a training job needs to know; `rows_url` leads to the window's rows."""
    broken = worst(result)
    whole = None if alarm.rule == "drift" else breached(alarm.rule, result)
    return RetrainRequest(
        model=alarm.model,
        version=alarm.version,
        digest=digest,
        alarm_id=alarm.alarm_id,
        rule=alarm.rule,
        reason=alarm.sentence,
        columns=([whole, *broken] if whole else broken)[:_MOST],
        window=result.window,
        positions=dict(positions),
        rows_url=rows_url,
        register_hint=(
            f"driftline register model.onnx --name {alarm.model} "
            "--manifest manifest.yaml --reference reference.parquet"
        ),
    )


def webhook_id(alarm: Alarm) -> str:
    """Derived from the cause: a crash can repeat the delivery but never its effect."""
    return "rr_" + sha256(alarm.alarm_id.encode()).hexdigest()[:24]
