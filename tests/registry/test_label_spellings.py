"""Labels in the spellings of different systems."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.events import Label
from registry.labels import category, read_label

BINARY = frozenset({"0", "1"})


@pytest.mark.parametrize(
    ("label", "classes", "read"),
    [
        *((one, BINARY, "1") for one in (1, 1.0, "1", " 1", "1.0", True, "true", "True", "1e0")),
        *((one, BINARY, None) for one in (3, "3", "yes", "", 0.5, "nan", "1 0", float("nan"))),
        (True, frozenset({"True", "False"}), "True"),
        ("true", frozenset({"True", "False"}), "True"),
        (1, frozenset({"True", "False"}), "True"),
        (" cat", frozenset({"cat", "dog"}), "cat"),
        ("Cat", frozenset({"cat", "dog"}), None),
        ("true", frozenset({"True", "1"}), None),
        ("1.0", frozenset({"1", "01"}), None),
        ("01", frozenset({"1", "01"}), "01"),
    ],
)
def test_a_label_is_read_if_its_spelling_matches_exactly_one_class(
    label: Label, classes: frozenset[str], read: str | None
) -> None:
    found = read_label(label, classes)
    assert (None if found is None else category(found)) == read


@pytest.mark.parametrize(
    ("label", "read"),
    [
        *((one, one) for one in (1, -1.5, 2**63)),
        *((text, float(text)) for text in ("1.5", " -2 ", "1e3")),
        *((one, None) for one in ("", "nan", "inf", "1e999", "x", True, 10**400)),
    ],
)
def test_a_number_as_text_is_a_label_of_a_regression(label: Label, read: Label | None) -> None:
    assert read_label(label, None) == read


@given(st.sets(st.text(max_size=6) | st.integers().map(str), min_size=1, max_size=5))
def test_every_class_reads_as_itself(names: set[str]) -> None:
    classes = frozenset(names)
    for name in classes:
        assert read_label(name, classes) == name
