"""Evidently's methods for embeddings, by name, on sampled vectors."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitoring.results import Score
from monitoring.scoring.drift.embeddings import EmbeddingScorer
from registry.sampled_tensors import vector_column

METHODS = ["distance", "mmd", "model", "ratio"]


def _vectors(seed: int, count: int = 200, shift: float = 0.0) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = np.random.default_rng(seed).normal(shift, 1, (count, 8))
    return found.astype("<f4")


def _bodies(vectors: np.ndarray[Any, Any]) -> list[bytes]:
    return [vector.tobytes() for vector in vectors]


def _scorer(method: str, reference: np.ndarray[Any, Any]) -> EmbeddingScorer:
    column = pd.Series([*reference.tolist(), None], dtype=object)
    return EmbeddingScorer({"v": method}, pd.DataFrame({vector_column("v"): column}))


def _score(scorer: EmbeddingScorer, vectors: np.ndarray[Any, Any]) -> Score:
    (score,) = scorer.score({"v": _bodies(vectors)}, {})
    return score


@pytest.mark.parametrize("method", METHODS)
def test_drifted_vectors_exceed_the_distance_between_halves_of_the_reference(method: str) -> None:
    scorer = _scorer(method, _vectors(0, 600))
    alike, moved = _score(scorer, _vectors(1)), _score(scorer, _vectors(2, shift=0.8))
    assert alike.value is not None
    assert moved.value is not None
    assert alike.threshold == moved.threshold
    assert not alike.breached or alike.value < 1.5 * (alike.threshold or 0)
    assert moved.breached
    assert moved.value > alike.value
    assert (moved.name, moved.column, moved.method) == ("embedding_drift", "v", method)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_vectors_give_the_same_score(method: str) -> None:
    first, again = (_score(_scorer(method, _vectors(0)), _vectors(1)) for _ in range(2))
    assert first == again


def test_earlier_windows_replace_the_reference() -> None:
    scorer = _scorer("distance", _vectors(0))
    moved = _bodies(_vectors(3, shift=2.0))
    (score,) = scorer.score({"v": _bodies(_vectors(4, shift=2.0))}, {"v": moved})
    assert not score.breached


@pytest.mark.parametrize(("reference", "window"), [(5, 200), (200, 5)])
def test_too_few_vectors_are_a_stated_reason(reference: int, window: int) -> None:
    score = _score(_scorer("mmd", _vectors(0, reference)), _vectors(1, window))
    assert (score.value, score.breached) == (None, False)
    assert "at least" in score.note


def test_a_reference_without_vectors_states_the_remedy() -> None:
    score = _score(EmbeddingScorer({"v": "mmd"}, pd.DataFrame({"x": [1.0]})), _vectors(1))
    assert score.note.startswith(
        "the reference contains no vectors: name the tensor in the manifest"
    )


def test_a_version_without_a_method_has_no_score() -> None:
    assert EmbeddingScorer({}, pd.DataFrame()).score({}, {}) == []
