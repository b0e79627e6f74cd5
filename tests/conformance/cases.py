"""The table of requests and expected outcomes, independent of the transport."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from registry.datatypes import NUMPY
from tests.conformance.echo_models import DATATYPES, WIDTH, name_of

Verdict = Literal["ok", "invalid", "unknown", "not ready"]


@dataclass(frozen=True, eq=False)
class CaseTensor:
    """One input as a request states it, true or not."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Any]  # flat

    def array(self) -> Any:
        return np.array(self.values, NUMPY[self.datatype]).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Case:
    """A request, and what must come of it by whatever way it travels."""

    name: str
    model: str
    inputs: tuple[CaseTensor, ...]
    version: str = ""
    outputs: tuple[str, ...] = ()  # asked for; none: all
    id: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    classes: int = 0  # how many of the best to answer for each output of `outputs`
    verdict: Verdict = "ok"
    words: tuple[str, ...] = ()  # that the message of a refusal must hold


def x(
    datatype: str, *values: Any, shape: tuple[int, ...] | None = None, name: str = "x"
) -> CaseTensor:
    """An input of the echo models."""
    return CaseTensor(name, datatype, shape or (len(values) // WIDTH, WIDTH), list(values))


def _extremes(datatype: str) -> list[Any]:
    dtype = NUMPY[datatype]
    if datatype == "BOOL":
        return [True, False, False, True]
    if datatype == "BYTES":
        return ["", "a", "Zürich 北京 🛫", 'quote " and \\ and \n and \x00', "x" * 300, "\u2028"]
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        edges = [limits.max, limits.min, limits.tiny, limits.smallest_subnormal, limits.eps, -0.0]
        return [dtype.type(value).item() for value in [*edges, 1 / 3, 0.1]]
    return [int(np.iinfo(dtype).min), int(np.iinfo(dtype).max), 0, 1]


_NOT_FINITE = [float("nan"), float("inf"), float("-inf"), 1.0]
_FLOATS = ("FP16", "FP32", "FP64")
_ONE_ROW = {"BOOL": (True, False), "BYTES": ("a", "b")}


def one_row(datatype: str) -> CaseTensor:
    return x(datatype, *_ONE_ROW.get(datatype, (0, 1)))


ANSWERED = [
    *(Case(f"one row of {d}", name_of(d), (one_row(d),)) for d in DATATYPES),
    *(Case(f"extreme values of {d}", name_of(d), (x(d, *_extremes(d)),)) for d in DATATYPES),
    *(Case(f"no numbers among {d}", name_of(d), (x(d, *_NOT_FINITE),)) for d in _FLOATS),
    Case("a thousand rows", "echo-fp32", (x("FP32", *(i / 7 for i in range(2000))),)),
    Case("one output of two", "echo-fp32", (one_row("FP32"),), outputs=("ones",)),
    Case("outputs in an order", "echo-fp32", (one_row("FP32"),), outputs=("ones", "echo")),
    Case("an id", "echo-int64", (one_row("INT64"),), id="mine-1"),
    Case("a version by number", "echo-int64", (one_row("INT64"),), version="1"),
    Case("a version by alias", "echo-int64", (one_row("INT64"),), version="steady"),
    Case(
        "an event time",
        "echo-int64",
        (one_row("INT64"),),
        parameters={"event_time": 1_372_636_800_000_000},
    ),
]

CLASSIFIED = [
    Case(
        f"the {count} best of {datatype}",
        name_of(datatype),
        (x(datatype, 1, 2, 5, 4),),
        outputs=("echo", "ones"),
        classes=count,
    )
    for count in (1, 9)
    for datatype in ("UINT8", "INT64", "FP16", "FP32", "FP64")
]

_MANY = 2**62
REFUSED = [
    Case("no such model", "nobody", (one_row("FP32"),), verdict="unknown", words=("nobody",)),
    Case(
        "no such version",
        "echo-fp32",
        (one_row("FP32"),),
        version="9",
        verdict="unknown",
        words=("9", "steady"),
    ),
    *(
        Case(name, "echo-fp32", inputs, verdict="invalid", words=words)
        for name, inputs, words in [
            ("no inputs", (), ("'x'", "missing", "FP32")),
            ("another input", (x("FP32", 1, 2, name="y"),), ("'y'", "unknown", "'x'")),
            ("an input twice", (one_row("FP32"), one_row("FP32")), ("'x'", "once")),
            ("another datatype", (one_row("FP64"),), ("'x'", "FP64", "FP32")),
            ("no datatype", (CaseTensor("x", "FP31", (1, 2), [1, 2]),), ("'x'", "FP31", "FP32")),
            ("a rank too low", (x("FP32", 1, 2, shape=(2,)),), ("'x'", "[-1, 2]")),
            ("a rank too high", (x("FP32", 1, 2, shape=(1, 2, 1)),), ("'x'", "[-1, 2]")),
            ("a width that is not the model's", (x("FP32", 1, 2, 3, shape=(1, 3)),), ("'x'",)),
            ("a negative dimension", (x("FP32", 1, 2, shape=(-1, 2)),), ("'x'", "-1")),
            ("all dimensions negative", (x("FP32", 1, 2, shape=(-1, -2)),), ("'x'", "-2")),
            ("no rows", (CaseTensor("x", "FP32", (0, 2), []),), ("'x'", "at least one")),
            ("no columns", (CaseTensor("x", "FP32", (1, 0), []),), ("'x'", "[-1, 2]")),
            ("a product over 64 bits", (x("FP32", 1, 2, shape=(_MANY, 2)),), (str(_MANY),)),
            ("dimensions over 64 bits", (x("FP32", 1, shape=(2**40, 2**40)),), ("'x'",)),
            ("fewer values than the shape", (x("FP32", 1, 2, shape=(2, 2)),), ("'x'", "2")),
            ("more values than the shape", (x("FP32", 1, 2, 3, 4, shape=(1, 2)),), ("'x'",)),
        ]
    ),
    Case(
        "an output that is none",
        "echo-fp32",
        (one_row("FP32"),),
        outputs=("size",),
        verdict="invalid",
        words=("'size'", "'echo'"),
    ),
    Case(
        "the best of strings",
        "echo-bytes",
        (one_row("BYTES"),),
        outputs=("echo",),
        classes=1,
        verdict="invalid",
        words=("'echo'", "BYTES"),
    ),
    Case(
        "fewer classes than one",
        "echo-fp32",
        (one_row("FP32"),),
        outputs=("echo",),
        classes=-1,
        verdict="invalid",
        words=("'echo'", "classification", "-1"),
    ),
    Case(
        "an event time that is none",
        "echo-fp32",
        (one_row("FP32"),),
        parameters={"event_time": "yesterday"},
        verdict="invalid",
        words=("event_time", "yesterday"),
    ),
    Case(
        "a timeout that is none",
        "echo-fp32",
        (one_row("FP32"),),
        parameters={"timeout": -1},
        verdict="invalid",
        words=("timeout",),
    ),
]
