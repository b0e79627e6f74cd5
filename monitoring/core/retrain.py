"""Everything that decides whether and how retraining is asked for lives here.

An alarm that fires asks once, and while any alarm of a model version is open no second request for
it goes out.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from eventlog.log import Position
from monitoring.core.decision import breached, worst
from monitoring.core.results import Alarm, Result, RetrainRequest


def wanted(fired: Sequence[Alarm], open_before: int) -> Alarm | None:
    """The newly fired alarm that asks for retraining; `open_before` alarms were open already."""
    return None if open_before else next(iter(fired), None)


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
        columns=[whole, *broken] if whole else broken,
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
