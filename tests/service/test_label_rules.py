"""The service refuses labels that no version of a model can have."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from eventlog.events import Label
from registry.labels import classes_of, read_label
from registry.manifest import Manifest, Prediction
from service.errors import InvalidLabels
from service.models.label_rules import check_labels
from service.protocol.feedback import FeedbackLabel
from tests.service.in_process import MANIFEST as REGRESSION

BINARY = Manifest(
    task="classification", target="y", prediction=Prediction(label="label", classes=[0, 1])
)
WORDS = replace(BINARY, prediction=Prediction(label="label", classes=["cat", "dog"]))
OTHER = Manifest(task="other")


def check(label: Any, *manifests: Manifest) -> None:
    known = {"t": manifests}
    check_labels(
        [FeedbackLabel("t-1", 0, label, None)], lambda id_: id_[:1], lambda tag: known[tag]
    )


@pytest.mark.parametrize(
    ("label", "manifests"),
    [
        *((label, [BINARY]) for label in (1, 1.0, "1", " 1", "1.0", True, "True", "1e0")),
        *((label, [REGRESSION]) for label in (1, -1.5, "1.5", " -2 ", "1e3")),
        ("cat", [WORDS]),
        (1, [BINARY, WORDS]),
        ("dog", [BINARY, WORDS]),
        ("anything", [OTHER, BINARY]),  # a version without labels: the monitor counts them
        ("anything", []),  # the model is not known here
    ],
)
def test_labels_that_a_version_can_have_are_accepted(
    label: Label, manifests: Sequence[Manifest]
) -> None:
    check(label, *manifests)


@pytest.mark.parametrize(
    ("label", "manifests", "words"),
    [
        *(
            (label, [BINARY], "not one of the classes 0, 1;")
            for label in (3, "yes", 0.5, "", "nan")
        ),
        *((label, [REGRESSION], "not a finite number;") for label in (True, "x", "nan", "1e999")),
        ("Cat", [WORDS], "not one of the classes cat, dog;"),
        ("mouse", [BINARY, WORDS], "not one of the classes cat, dog;"),
    ],
)
def test_labels_that_no_version_can_have_are_refused_by_name(
    label: Label, manifests: Sequence[Manifest], words: str
) -> None:
    with pytest.raises(InvalidLabels, match=words) as refused:
        check(label, *manifests)
    assert str(refused.value).startswith(f"prediction t-1, row 0: its label {label!r} is ")
    assert sum(refused.value.by_shard.values()) == 1


def test_every_refused_label_is_counted_and_the_first_is_named() -> None:
    labels = [FeedbackLabel("t-1", row, label, None) for row, label in enumerate([0, "x", 1, "y"])]
    with pytest.raises(InvalidLabels, match=r"row 1: its label 'x'.*; .* 2 invalid") as refused:
        check_labels(labels, lambda _: "t", lambda _: [BINARY])
    assert sum(refused.value.by_shard.values()) == 2


def test_a_label_with_an_unsigned_prediction_id_is_checked_by_the_monitor() -> None:
    def unknown(_: str) -> Sequence[Manifest]:
        raise AssertionError

    check_labels([FeedbackLabel("p", 0, "x", None)], lambda _: "", unknown)


@given(st.booleans() | st.integers() | st.floats() | st.text(max_size=8))
def test_service_and_monitor_refuse_the_same_labels(label: Label) -> None:
    for manifest in (BINARY, WORDS, REGRESSION):
        readable = read_label(label, classes_of(manifest)) is not None
        try:
            check(label, manifest)
        except InvalidLabels:
            assert not readable
        else:
            assert readable
