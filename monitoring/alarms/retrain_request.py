"""Decide whether an alarm requests retraining, and build the request.

An alarm requests retraining once, when it fires, unless another alarm of the version is open. A
version's later request replaces an earlier request that is not delivered yet. Alarms about
prediction parity, fairness gaps and traffic request no retraining and block no other request:
training mends neither a serving fault nor missing callers, and people decide about fairness gaps.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import get_args

from eventlog.log import Position
from monitoring.alarms.decision import breached
from monitoring.alarms.severity import largest_drift
from monitoring.results import (
    SELECTION_GAP,
    TRAFFIC,
    TRUE_POSITIVE_GAP,
    Alarm,
    Result,
    RetrainRequest,
    Rule,
)

_NO_RETRAINING = ("parity", SELECTION_GAP, TRUE_POSITIVE_GAP, TRAFFIC)
_MOST = 100  # maximum columns in a request, because some receivers accept at most 64 KB
NOTICE = "an_"  # prefix of the webhook id of an alarm that requests no retraining
# Rules whose alarms can request retraining.
RULES: tuple[Rule, ...] = tuple(rule for rule in get_args(Rule) if rule not in _NO_RETRAINING)


def retrain_alarm(fired: Sequence[Alarm], open_before: int) -> Alarm | None:
    """Return the newly fired alarm that requests retraining; None if no alarm does.

    `open_before` is the number of alarms of `RULES` that were already open.
    """
    if open_before:
        return None
    return next((alarm for alarm in fired if alarm.rule in RULES), None)


def request(
    alarm: Alarm, result: Result, *, digest: str, positions: Mapping[str, Position], rows_url: str
) -> RetrainRequest:
    """Build the request for a training job; `rows_url` is the address of the window's rows."""
    broken = largest_drift(result)
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
        register_hint=register_hint(alarm.model, webhook_id(alarm)),
    )


def register_hint(model: str, request: str) -> str:
    """Return the command that registers the retrained model as the answer to a request."""
    return (
        f"driftline register model.onnx --name {model} --manifest manifest.yaml "
        f"--reference reference.parquet --answers {request}"
    )


def notice_id(alarm: Alarm) -> str:
    """Return the webhook id of an alarm that requests no retraining."""
    return NOTICE + sha256(alarm.alarm_id.encode()).hexdigest()[:24]


def webhook_id(alarm: Alarm) -> str:
    """Return the request's webhook id; the receiver recognises a repeated delivery by it."""
    return "rr_" + sha256(alarm.alarm_id.encode()).hexdigest()[:24]
