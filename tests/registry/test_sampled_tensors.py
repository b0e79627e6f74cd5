"""Tensors that are sampled, and vectors that can be compared."""

from typing import Any

import pytest

from registry.errors import InvalidManifest
from registry.manifest import Feature, Manifest, Monitoring, PayloadPolicy, Signature, TensorSpec
from registry.sampled_tensors import check_embeddings, sampled_vectors, shown_inputs, vectors_of

INPUTS = [
    TensorSpec("photo", "UINT8", [-1, -1, -1, 3]),
    TensorSpec("words", "BYTES", [-1]),
    TensorSpec("numbers", "FP32", [-1, 4]),
    TensorSpec("series", "FP32", [-1, 100, 4]),
]
OUTPUTS = [TensorSpec("vector", "FP32", [-1, 768]), TensorSpec("label", "INT64", [-1])]


def _manifest(**fields: Any) -> Manifest:
    return Manifest(signature=Signature(INPUTS, OUTPUTS), **fields)


def test_images_and_texts_are_shown_unless_they_are_features_or_masked() -> None:
    assert [(one.name, one.kind) for one in shown_inputs(_manifest())] == [
        ("photo", "image"),
        ("words", "text"),
    ]
    carried = _manifest(features=[Feature("words", "categorical", input="words")])
    assert [one.name for one in shown_inputs(carried)] == ["photo"]
    masked = _manifest(payload=PayloadPolicy({"photo": "drop"}))
    assert [one.name for one in shown_inputs(masked)] == ["words"]


def test_vectors_are_bounded_in_number_by_their_width() -> None:
    compared = _manifest(monitoring=Monitoring(embedding_drift={"vector": "mmd"}))
    check_embeddings(compared)
    (vector,) = sampled_vectors(compared)
    assert (vector.name, vector.size) == ("vector", vectors_of(768))
    assert vectors_of(2) == 1_000
    assert vectors_of(4_096) == 64


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        ("nothing", "which is not an input or output; expected one of label, numbers"),
        ("label", r"'label' is INT64 \[-1\]; expected floats \[N, d\]"),
        ("series", "expected floats"),
        ("words", "expected floats"),
    ],
)
def test_tensors_that_are_not_vectors_are_refused(tensor: str, reason: str) -> None:
    with pytest.raises(InvalidManifest, match=reason):
        check_embeddings(_manifest(monitoring=Monitoring(embedding_drift={tensor: "mmd"})))


def test_an_unknown_method_is_refused_with_the_existing_methods() -> None:
    stated = _manifest(monitoring=Monitoring(embedding_drift={"vector": "cosine"}))
    with pytest.raises(
        InvalidManifest, match="'cosine' of 'vector'; expected one of distance, mmd, model"
    ):
        check_embeddings(stated)
