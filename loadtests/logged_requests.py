"""Read a model's requests from the log and encode them, so that they can be sent again."""

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Literal, NamedTuple

from eventlog.errors import SettingError
from eventlog.events import Event, PredictionEvent
from eventlog.layout import positions_at
from eventlog.segments import SegmentReader
from loadtests.logged_period import LoggedPeriod
from loadtests.payloads import Parameters, Payload, encode_request
from registry.features import signature
from registry.logged_arrays import logged_array
from registry.manifest import Manifest, Version
from registry.payload import withheld
from registry.store import Registry

Form = Literal["REST JSON", "REST binary", "gRPC"]
_MOST_BYTES = 1 << 30  # maximum size of all encoded requests
_CHUNK = 1_000  # records read at once
_NO_INPUTS = "the log has no inputs"
_HIDDEN = "a payload policy hides inputs, or the version is not registered"
_UNREADABLE = "a logged tensor is invalid"
_INVALID = "the service refused them as invalid"


class Requested(NamedTuple):
    """The version, its name in requests, and the parameters of all requests."""

    version: Version
    name: str  # a number or an alias; "" means the champion
    parameters: Parameters


class LoggedRequest(NamedTuple):
    """A logged request, ready to be sent."""

    received: int  # microseconds since the epoch
    form: Form
    payload: Payload


class LoggedRequests(NamedTuple):
    """The requests of a period that can be sent again, in order of reception."""

    requests: list[LoggedRequest]
    skipped: Mapping[str, int]  # reason -> number of skipped requests

    @property
    def note(self) -> str:
        """Return the number of requests, and the reasons why others were skipped."""
        summary = f"{len(self.requests):,} logged requests"
        if not self.skipped:
            return summary
        reasons = "; ".join(f"{count:,} because {reason}" for reason, count in self.skipped.items())
        return f"{summary}; skipped: {reasons}"


def read_requests(
    log: Path, unchanged: Set[str], requested: Requested, period: LoggedPeriod
) -> LoggedRequests:
    """Return the period's requests to the model; raises SettingError if none can be sent.

    `unchanged`: versions whose inputs are logged as the clients sent them.
    """
    version = requested.version
    accepted = _Accepted(version)
    requests: list[LoggedRequest] = []
    skipped: Counter[str] = Counter()
    size = 0
    for event in _events(log, period):
        if not isinstance(event, PredictionEvent) or event.model != version.model:
            continue
        if not event.online or not period.start <= event.received < period.end:
            continue
        if reason := _unfit(event, unchanged) or accepted.mismatch(event):
            skipped[reason] += 1
            continue
        try:
            inputs = {name: logged_array(tensor) for name, tensor in event.inputs.items()}
        except (ValueError, TypeError, KeyError):
            skipped[_UNREADABLE] += 1
            continue
        payload = encode_request(inputs, None, *requested)
        size += len(payload.json) + len(payload.binary) + len(payload.grpc)
        if size > _MOST_BYTES:
            raise SettingError(
                f"--from-log: the requests of {period} take more than {_MOST_BYTES >> 30} GiB of "
                "memory; expected a shorter period (--last, or --from and --to)"
            )
        requests.append(LoggedRequest(event.received, _form(event), payload))
    requests.sort(key=lambda request: request.received)
    logged = LoggedRequests(requests, skipped)
    if not requests:
        raise SettingError(
            f"--from-log: {log} has no request to {version.model} that can be sent again from "
            f"{period}: {logged.note}; expected another period (--last, or --from and --to)"
        )
    return logged


class _Accepted:
    """The inputs that a version accepts."""

    def __init__(self, version: Version) -> None:
        model_signature = signature(version.manifest)
        self._required = {spec.name for spec in model_signature.inputs}
        self._datatypes = {spec.name: spec.datatype for spec in model_signature.accepted}
        self._reason = f"version {version.number} expects other inputs"

    def mismatch(self, event: PredictionEvent) -> str:
        """Return why the version does not accept an event's inputs; "" if it accepts them."""
        fits = self._required <= event.inputs.keys() and all(
            self._datatypes.get(name) == tensor.datatype for name, tensor in event.inputs.items()
        )
        return "" if fits else self._reason


def unchanged_versions(registry: Registry, model: str) -> set[str]:
    """Return the versions whose inputs are logged as the clients sent them."""
    return {version.number for version in registry.versions(model) if not _hides(version.manifest)}


def _hides(manifest: Manifest) -> bool:
    names = {spec.name for spec in signature(manifest).accepted}
    rules = manifest.payload.fields.items()
    return bool(withheld(manifest)) or any(name in names and rule != "keep" for name, rule in rules)


def _unfit(event: PredictionEvent, unchanged: Set[str]) -> str:
    if event.outcome == "invalid":
        return _INVALID
    if event.payload != "kept" or not event.inputs:
        return _NO_INPUTS
    return "" if event.version in unchanged else _HIDDEN


def _form(event: PredictionEvent) -> Form:
    """Return the request's protocol; for REST, guess the form from the size of the tensors."""
    if event.protocol == "grpc":
        return "gRPC"
    large = any(tensor.raw or tensor.raw_at for tensor in event.inputs.values())
    return "REST binary" if large else "REST JSON"


def _events(log: Path, period: LoggedPeriod) -> Iterator[Event]:
    reader = SegmentReader(log, positions_at(log, period.start / 1e6))
    try:
        while records := reader.poll(_CHUNK):
            yield from (record.event for record in records if isinstance(record.event, Event))
    finally:
        reader.close()
