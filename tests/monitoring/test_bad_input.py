"""Bad records between good events are dead-lettered or counted; the good ones are unaffected."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventlog import wire
from eventlog.errors import UnreadableEvent
from eventlog.log import Record
from monitoring.results import DeadLetter
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.store import Store
from monitoring.web.app import app
from monitoring.web.server import serving
from registry.errors import UnknownModel
from registry.manifest import Version
from tests.depth import by_depth
from tests.monitoring.log_in_memory import HOUR, T0, VERSION, Monitor
from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.untraced

YEARS = 20 * 365 * 24 * HOUR
RECEIVED = T0 + 10_000 * HOUR
DIGITS = 10**400  # exceeds floats and 64-bit integers
GOOD, BAD = "1", "2"  # versions; bad input must only affect version BAD


def a_prediction(name: str, hour: float = 3.5, **changes: Any) -> dict[str, Any]:
    fields = {
        "type": "driftline.prediction.v1", "time": int(T0 + hour * HOUR), "received": RECEIVED,
        "prediction_id": name, "model": "tiny", "version": GOOD, "protocol": "rest",
        "outcome": "ok", "rows": 1,
        "inputs": {"x": {"datatype": "FP32", "shape": [1, 1], "data": [hour]}},
        "outputs": {
            "label": {"datatype": "INT64", "shape": [1], "data": [1]},
            "probabilities": {"datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]},
        },
    }  # fmt: skip
    return fields | changes


def a_label(name: str, label: object, **changes: Any) -> dict[str, Any]:
    fields = {
        "type": "driftline.feedback.v1", "time": T0, "received": RECEIVED, "prediction_id": name,
        "label": label,
    }  # fmt: skip
    return fields | changes


def an_input(*data: object, shape: Sequence[int] = (1, 1), name: str = "x") -> dict[str, Any]:
    return {name: {"datatype": "FP32", "shape": list(shape), "data": list(data)}}


def answers(label: object = 1, *probabilities: object) -> dict[str, Any]:
    reported = list(probabilities or (0.25, 0.75))
    return {
        "label": {"datatype": "INT64", "shape": [1], "data": [label]},
        "probabilities": {"datatype": "FP32", "shape": [1, 2], "data": reported},
    }


@dataclass(frozen=True)
class Bad:
    """A bad record, the events before it, and its expected handling."""

    what: str
    body: dict[str, Any] | bytes
    reason: str = ""  # part of the dead letter's reason; empty if none is expected
    counted: dict[str, int] = field(default_factory=dict)
    first: Sequence[dict[str, Any]] = ()


KNOWN = a_prediction("bad", version=BAD)
CASES = [
    Bad("garbage bytes", b"\xff\x00{", "not an event"),
    Bad("nothing", b"", "not an event"),
    Bad("JSON of something else", b'["event"]', "not an event"),
    Bad("half an event", b'{"type":"driftline.prediction.v1","source":"s-0"', "not an event"),
    Bad("bytes that are no text", b'{"type":"\xff"}', "not an event"),
    Bad(
        "an unknown schema version",
        a_prediction("bad", type="driftline.prediction.v9"),
        "driftline.prediction.v9",
    ),
    Bad("an unknown model", a_prediction("bad", model="other"), "no model 'other'"),
    Bad("an unknown version", a_prediction("bad", version="9"), "no model"),
    Bad("a number where a name was", a_prediction("bad", model=7), "$.model"),
    Bad("a name where a number was", a_prediction("bad", time="noon"), "$.time"),
    Bad("a name that no database has", a_prediction("ba\0d"), "contains a null character"),
    Bad("NaN in an event", a_prediction("bad", inputs={"x": b"NaN"}), "not an event"),
    Bad("a string among numbers", a_prediction("bad", inputs=an_input("abc")), "expected a number"),
    Bad("a list among numbers", a_prediction("bad", inputs=an_input([1])), "expected a number"),
    Bad("a missing feature", a_prediction("bad", inputs={}), "missing input 'x'"),
    Bad("a feature of another name", a_prediction("bad", inputs=an_input(1, name="z")), "missing"),
    Bad("too many values", a_prediction("bad", inputs=an_input(1.0, 2.0)), "got 2 values"),
    Bad("a shape of nothing", a_prediction("bad", inputs=an_input(1.0, shape=[0])), "0 rows"),
    Bad("a shape of too much", a_prediction("bad", inputs=an_input(1.0, shape=[2**63, 1])), "x"),
    Bad("raw bytes of nothing", a_prediction(
        "bad", inputs={"x": {"datatype": "FP32", "shape": [1], "data": [], "raw": "AAA"}}
    ), "input 'x'"),
    Bad("a missing answer", a_prediction("bad", outputs={}), "rows do not fit"),
    Bad("a list for an answer", a_prediction("bad", outputs=answers([1])), "expected a class"),
    Bad("words for probabilities", a_prediction("bad", outputs=answers(1, "low", "high")), "low"),
    Bad("more rows than answers", a_prediction("bad", rows=5), "do not fit the manifest"),
    Bad("2^63 rows", a_prediction("bad", rows=2**63, payload="dropped"), "rows are not between"),
    Bad("less than no rows", a_prediction("bad", rows=-1, payload="digest"), "-1 rows are not"),
    Bad("an event time of 2^63", a_prediction("bad", time=2**63), "after 9999"),
    Bad("a time before all time", a_prediction("bad", time=-DIGITS), "before 1970"),
    Bad("a clock years ahead", a_prediction("bad", time=RECEIVED + YEARS), "more than a day ahead"),
    Bad("a reception of 2^63", a_prediction("bad", received=2**63), "its reception"),
    Bad("a reception before 1970", a_prediction("bad", received=-DIGITS, time=-1), "its reception"),
    Bad(
        "a clock years behind", a_prediction("bad", time=T0 - YEARS),
        counted={"late_events": 1, "late_rows": 1},
    ),
    Bad(
        "an input that nobody asked for",
        a_prediction("bad", version=BAD, inputs=an_input(1.0) | an_input(2.0, name="z")),
        counted={"unexpected_inputs": 1},
    ),
    Bad("a duration of 2^63", a_prediction("bad", version=BAD, total_us=2**63), ""),
    Bad("a duration without end", a_prediction("bad", version=BAD, total_us=DIGITS), ""),
    Bad("a duration below zero", a_prediction("bad", version=BAD, total_us=-DIGITS), ""),
    Bad("a value of 2^63", a_prediction("bad", version=BAD, inputs=an_input(2**63)), ""),
    Bad("a value without end", a_prediction("bad", version=BAD, inputs=an_input(DIGITS)), ""),
    Bad("an infinity", a_prediction("bad", version=BAD, inputs=an_input("-Infinity")), ""),
    Bad("a missing value", a_prediction("bad", version=BAD, inputs=an_input(None)), ""),
    Bad(
        "a label for an unknown prediction", a_label("nobody-{n}", 1),
        counted={"labels": 1, "unknown_labels": 1},
    ),
    Bad("a label that is null", a_label("bad", None), "$.label"),
    Bad("a label that is a list", a_label("bad", [1]), "$.label"),
    Bad("a label for no row", a_label("bad", 1, row=-1), "its row -1"),
    Bad("a label for row 2^63", a_label("bad", 1, row=2**63), "its row 9223372036854775808"),
    Bad(
        "a label of the wrong type", a_label("bad", "yes"), "its label 'yes' is not one",
        {"labels": 1, "unfit_labels": 1}, [KNOWN],
    ),
    Bad(
        "a label of an unknown class", a_label("bad", 2), "not one of the classes",
        {"labels": 1, "unfit_labels": 1}, [KNOWN],
    ),
    Bad(
        "a label of half a class", a_label("bad", 0.5), "not one of the classes",
        {"labels": 1, "unfit_labels": 1}, [KNOWN],
    ),
    Bad(
        "a label of 2^63", a_label("bad", 2**63), "not one of the classes",
        {"labels": 1, "unfit_labels": 1}, [KNOWN],
    ),
    Bad(
        "an infinite label", a_label("bad", "Infinity"), "not one of the classes",
        {"labels": 1, "unfit_labels": 1}, [KNOWN],
    ),
    Bad(
        "a second label that says otherwise", a_label("bad", 0), "",
        {"labels": 1, "conflicting_labels": 1}, [KNOWN, a_label("bad", 1)],
    ),
    Bad(
        "a second label that says the same", a_label("bad", 1), "",
        {"labels": 1, "duplicate_labels": 1}, [KNOWN, a_label("bad", 1)],
    ),
    Bad(
        "a label at the end of time", a_label("bad", 1, time=DIGITS), "",
        {"labels": 1, "duplicate_labels": 1}, [KNOWN, a_label("bad", 1)],
    ),
]  # fmt: skip
PLACES = range(40, 100, 7)  # positions of the bad record; the first window is closed by then
FILLER = a_prediction("filler", version="", outcome="refused", inputs={}, outputs={}, rows=0)


def _find(model: str, number: str) -> Version:
    if (model, number) not in {("tiny", GOOD), ("tiny", BAD)}:
        raise UnknownModel(f"no model {model!r}; models: tiny")
    return msgspec.structs.replace(VERSION, number=number)


def _good() -> list[dict[str, Any]]:
    """Return 12 predictions an hour for ten hours, labelled two hours later; drift from hour 3."""
    reported = []
    for n in range(120):
        reported.append(a_prediction(f"p{n}", n / 12))
        if n >= 24:
            reported.append(a_label(f"p{n - 24}", n % 2))
    return reported


def _records(between: Sequence[dict[str, Any] | bytes], first: Sequence[dict[str, Any]]) -> Any:
    """Return the good events with other records at fixed places between them."""
    bodies: list[dict[str, Any] | bytes] = [*first]
    others = iter(between)
    for place, event in enumerate(_good()):
        if place in PLACES:
            bodies.append(next(others))
        bodies.append(event)
    return [_record(one, sequence) for sequence, one in enumerate(bodies)]


def _record(body: dict[str, Any] | bytes, sequence: int) -> Record:
    stamp = {"source": "s-0", "epoch": 1, "sequence": sequence}
    value = body if isinstance(body, bytes) else _encoded(body | stamp)
    try:
        return Record("s-0", 1, sequence, wire.decode(value), value)
    except UnreadableEvent as error:
        return Record("s-0", 1, sequence, error, value)


def _encoded(event: dict[str, Any]) -> bytes:
    return msgspec.json.encode(event).replace(b'"TmFO"', b"NaN")  # bytes that are not valid JSON


def _monitored(where: DatabaseAddress, records: Sequence[Record]) -> Store:
    Monitor(where, records, find=_find).drain()
    return Store(where)


def _state_of_good_version(where: DatabaseAddress) -> dict[str, list[tuple[object, ...]]]:
    """Return the stored state, alarms and webhooks of the good version."""
    database = Database(where)
    tables = ("results", "windows", "watches", "streaks", "predictions")
    found = {
        name: database.all(f"SELECT * FROM {name} WHERE version = :v ORDER BY 1, 2, 3, 4", v=GOOD)
        for name in tables[:2]
    }
    for name in tables[2:]:
        found[name] = sorted(
            database.all(f"SELECT * FROM {name} WHERE version = :v", v=GOOD), key=repr
        )
    found["predictions"] = [row for row in found["predictions"] if row[0] != "bad"]
    for name in ("alarms", "outbox", "positions"):
        found[name] = database.all(f"SELECT * FROM {name} ORDER BY 1")
    database.close()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """Return the good version's state without bad records, by number of events before the good."""
    found = {}
    for before in range(3):
        where = tmp_path_factory.mktemp("calm") / "monitor.db"
        _monitored(where, _records([FILLER] * len(PLACES), [FILLER] * before)).close()
        found[before] = _state_of_good_version(where)
    return found


def _between(case: Bad) -> list[dict[str, Any] | bytes]:
    if isinstance(case.body, bytes):
        return [case.body] * len(PLACES)
    name = str(case.body["prediction_id"])
    return [{**case.body, "prediction_id": name.format(n=n)} for n in range(len(PLACES))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_bad_record_does_not_affect_the_results_of_good_events(
    tmp_path: Path, undisturbed: dict[int, Any], case: Bad
) -> None:
    where = tmp_path / "monitor.db"
    store = _monitored(where, _records(_between(case), case.first))
    calm = undisturbed[len(case.first)]
    assert {len(calm[name]) > 0 for name in ("results", "alarms", "outbox")} == {True}
    assert _state_of_good_version(where) == calm
    letters, totals = store.dead_letters(1_000), store.totals()
    assert len(letters) == (len(PLACES) if case.reason else 0)
    assert all(case.reason in letter.reason for letter in letters)
    assert len({letter.origin for letter in letters}) == len(letters)
    assert all(letter.origin.startswith("s-0:1:") and letter.body is not None for letter in letters)
    labels = 96 + sum(one["type"] == "driftline.feedback.v1" for one in case.first)
    for name, each in case.counted.items():
        assert totals[name] == each * len(PLACES) + (labels if name == "labels" else 0)
    kinds = {"late", "duplicate", "conflicting", "unknown", "unfit"}
    counts = {name: totals.get(f"{name}_labels", 0) for name in kinds}
    assert sum(counts.values()) == sum(
        each * len(PLACES) for name, each in case.counted.items() if name.endswith("_labels")
    )


def test_window_with_bad_values_can_be_displayed_and_exported(tmp_path: Path) -> None:
    bodies = [one for case in CASES for one in [*case.first, case.body]]
    named = [
        one | {"prediction_id": f"p{n}"} if isinstance(one, dict) and "model" in one else one
        for n, one in enumerate(bodies)
    ]
    named += [
        a_prediction(f"q{n}", version=BAD, outputs=answers(label))
        for n, label in enumerate([0, "x"])
    ]
    monitor = Monitor(
        tmp_path / "monitor.db", [_record(one, n) for n, one in enumerate(named)], find=_find
    )
    monitor.drain()
    monitor.consumer.close_all()
    monitor.drain()
    made = app(lambda: Store(tmp_path / "monitor.db"), tmp_path)
    with serving(made, "127.0.0.1", 0) as address, httpx.Client(base_url=address) as client:
        (result,) = client.get(f"/api/models/tiny/versions/{BAD}/results").json()
        place = f"{BAD}/windows/{result['window']['start']}"
        exported = client.get(f"/api/models/tiny/versions/{place}/rows.parquet").content
        for page in ("/", f"/models/tiny/{BAD}", f"/models/tiny/{place}"):
            assert client.get(page).status_code == 200
    rows = pd.read_parquet(io.BytesIO(exported))
    assert len(rows) == result["rows"]
    assert {math.inf, -math.inf, float(2**63)} <= set(rows["x"])
    assert {"0", "1", "x"} == set(rows["prediction"])


def test_unfit_label_before_its_prediction_is_counted(
    where: DatabaseAddress,
) -> None:
    bodies = [a_label("p", "yes"), a_prediction("p"), a_label("p", 1)]
    store = _monitored(where, [_record(one, n) for n, one in enumerate(bodies)])
    assert store.totals()["unfit_labels"] == 1
    (live,) = store.live("tiny", GOOD)
    assert (live.labelled, live.conflicting) == (1, 0)


@pytest.mark.parametrize(
    ("label", "fits"),
    [(1.5, True), (-3, True), (2**63, True), (0, True), (True, False), ("1.5", True),
     ("NaN", False), ("Infinity", False), ("", False), (DIGITS, False)],
)  # fmt: skip
def test_regression_label_must_be_a_finite_number(
    tmp_path: Path, label: object, *, fits: bool
) -> None:
    manifest = msgspec.structs.replace(
        VERSION.manifest,
        task="regression",
        prediction=msgspec.structs.replace(
            VERSION.manifest.prediction, probabilities="", classes=[], positive=None
        ),
    )
    bodies = [a_prediction("p"), a_label("p", label)]
    records = [_record(one, n) for n, one in enumerate(bodies)]
    version = msgspec.structs.replace(VERSION, manifest=manifest)
    Monitor(tmp_path / "monitor.db", records, find=lambda *_: version).drain()
    store = Store(tmp_path / "monitor.db")
    assert [live.labelled for live in store.live("tiny", GOOD)] == [int(fits)]
    reasons = [letter.reason for letter in store.dead_letters(9)]
    assert [reason for reason in reasons if "is not a finite number" not in reason] == []
    assert len(reasons) == (not fits)


@pytest.mark.parametrize("label", [1, 1.0, "1", True])
def test_class_label_can_be_a_number_or_text(tmp_path: Path, label: object) -> None:
    bodies = [a_prediction("p"), a_label("p", label)]
    store = _monitored(tmp_path / "monitor.db", [_record(one, n) for n, one in enumerate(bodies)])
    assert [live.labelled for live in store.live("tiny", GOOD)] == [1]


def test_bad_input_is_handled_the_same_in_every_database(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    bodies = [one for case in CASES for one in [*case.first, case.body]]
    records = [_record(one, sequence) for sequence, one in enumerate(bodies)]
    found = []
    for place in (tmp_path / "alone.db", postgres.schema()):
        store = _monitored(place, records)
        letters = [(one.origin, one.reason) for one in store.dead_letters(1_000)]
        found.append((letters, store.totals(), store.live("tiny", BAD)))
    assert found[0] == found[1]


numbers = st.integers(-(2**70), 2**70) | st.just(DIGITS)
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
tensors = st.fixed_dictionaries(
    {"datatype": st.sampled_from(["FP32", "INT64", "BYTES", "?"]),
     "shape": st.lists(numbers, max_size=3), "data": st.lists(anything, max_size=3)},
    optional={"raw": st.text(max_size=8)},
)  # fmt: skip
events = st.fixed_dictionaries(
    {},
    optional={
        "time": numbers, "received": numbers, "rows": numbers, "total_us": numbers,
        "prediction_id": st.text(max_size=5), "model": st.text(max_size=3),
        "version": st.sampled_from([GOOD, BAD, "", "0"]), "reason": st.text(max_size=5),
        "payload": st.sampled_from(["kept", "digest", "dropped"]),
        "outcome": st.sampled_from(["ok", "invalid", "failed"]),
        "inputs": st.dictionaries(st.sampled_from(["x", "z"]), tensors),
        "outputs": st.dictionaries(st.sampled_from(["label", "probabilities"]), tensors),
    },
)  # fmt: skip
feedback = st.fixed_dictionaries(
    {}, optional={"time": numbers, "received": numbers, "row": numbers, "label": anything}
)


@settings(
    max_examples=by_depth(30, 200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        events.map(lambda changes: a_prediction("p", **changes))
        | feedback.map(lambda changes: a_label("p", 1) | changes)
        | st.binary(max_size=20),
        max_size=8,
    )
)
def test_no_record_stops_the_monitor(where: DatabaseAddress, bodies: list[Any]) -> None:
    """The ledger counts every record, whatever it contains."""
    if isinstance(where, Path):
        where.unlink(missing_ok=True)
    try:
        records = [_record(one, sequence) for sequence, one in enumerate(bodies)]
    except UnicodeEncodeError:  # not valid in JSON
        return
    store = _monitored(where, records)
    if isinstance(where, Path):
        assert sum(one.events for one in store.ledger()) == len(records)
    store.close()


def test_dead_letter_states_its_origin(tmp_path: Path) -> None:
    store = _monitored(tmp_path / "monitor.db", [_record(b"garbage", 0)])
    (letter,) = store.dead_letters(1)
    reason = "not an event of a known schema version: JSON is malformed: invalid character (byte 0)"
    assert letter == DeadLetter(1, "s-0:1:0", reason, b"garbage")
