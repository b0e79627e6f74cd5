"""Gates as people write them, and the errors for faulty gates."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidGates
from registry.gates.policy import read_gate_file
from registry.gates.specification import KINDS, SizeGate
from registry.gates.stated_gates import read_gates

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def test_a_gate_has_its_fields() -> None:
    gates = read_gates({"small": {"kind": "size", "at_most_mb": 2, "blocking": False}})
    assert gates == {"small": SizeGate(at_most_mb=2.0, blocking=False)}


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        ({"kind": "finit"}, "gate g: unknown kind 'finit'; did you mean 'finite'?"),
        ({"seconds": 3}, "gate g: no kind; expected one of load, answers"),
        ({"kind": "size", "at_most": 3}, "unknown field 'at_most'; did you mean 'at_most_mb'?"),
        ({"kind": "size"}, "gate g: no limit; expected at_most_mb or ratio"),
        ({"kind": "size", "ratio": 0}, "gate g: Expected `float` > 0.0 - at `$.ratio`"),
        ({"kind": "answers", "requests": []}, "length >= 1 - at `$.requests`"),
        ("load", "gate g: expected fields, for example {kind: load}"),
    ],
)
def test_a_wrong_gate_is_named(gate: Any, sentence: str) -> None:
    with pytest.raises(InvalidGates) as found:
        read_gates({"g": gate})
    assert sentence in str(found.value)


def test_a_name_is_simple() -> None:
    with pytest.raises(InvalidGates, match="gate 'Big Gate': expected a lowercase letter"):
        read_gates({"Big Gate": {"kind": "load"}})


@given(st.dictionaries(st.text(max_size=5), _VALUES | st.fixed_dictionaries(
    {"kind": st.sampled_from([*KINDS, "other"])}, optional={"seconds": _VALUES, "ratio": _VALUES}
), max_size=4))  # fmt: skip
def test_arbitrary_text_is_parsed_or_refused(stated: dict[str, Any]) -> None:
    with suppress(InvalidGates):
        assert read_gates(stated).keys() == stated.keys()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gate: {}", "expected gates: {NAME: {kind: ...}}"),
        ("gates: {}\non_registr: run", "unknown field 'on_registr'; did you mean 'on_register'?"),
        ("gates: {}\non_register: yes", "on_register is True; expected run"),
        ("gates: [", "is not YAML"),
        ("gates: {a: {kind: answers, requests: nowhere.json}}", "nowhere.json: No such file"),
        ("gates: {a: {kind: lad}}", "gates.yaml: gate a: unknown kind 'lad'"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text(text)
    with pytest.raises(InvalidGates) as found:
        read_gate_file(path)
    assert sentence in str(found.value)


def test_golden_requests_can_be_in_a_separate_file(tmp_path: Path) -> None:
    (tmp_path / "golden.json").write_text('[{"inputs": {"x": [1]}, "outputs": {"y": [2]}}]')
    path = tmp_path / "gates.yaml"
    path.write_text("gates: {known: {kind: answers, requests: golden.json}}")
    stated = read_gate_file(path).gates["known"]["requests"]
    assert stated == [{"inputs": {"x": [1]}, "outputs": {"y": [2]}}]


def test_gates_fit_into_a_row(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text(f"gates: {{a: {{kind: lineage, fields: [{'x' * (1 << 20)}]}}}}")
    with pytest.raises(InvalidGates, match="expected at most 1,048,576"):
        read_gate_file(path)
