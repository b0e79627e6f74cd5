"""Texts: a classifier of sentences by the library that they document, and a vector per sentence.

The corpus consists of sentences in the docstrings of NumPy, pandas and scikit-learn, so it needs no
download.
"""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import numpy as np
import pandas as pd
import sklearn.cluster
import sklearn.ensemble
import sklearn.linear_model
import sklearn.preprocessing
from example import Example
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

_LIBRARIES: dict[str, list[ModuleType | type]] = {
    "numpy": [np, np.linalg, np.fft],
    "pandas": [pd, pd.DataFrame],
    "scikit-learn": [
        sklearn.cluster,
        sklearn.ensemble,
        sklearn.linear_model,
        sklearn.preprocessing,
    ],
}
_WORD = "[a-zA-Z]+"  # a pattern that ONNX tokenizers support too
_PER_LIBRARY = 700
_LEAST_WORDS = 6
_DIMENSIONS = 16


@cache
def load_sentences() -> pd.DataFrame:
    """Return shuffled sentences, the same number per library: columns `sentence`, `library`."""
    rows = [
        (sentence, library)
        for library, modules in _LIBRARIES.items()
        for sentence in sorted({sentence for module in modules for sentence in _sentences(module)})
    ]
    frame = pd.DataFrame(rows, columns=["sentence", "library"])
    return (
        frame.groupby("library").sample(_PER_LIBRARY, random_state=0).sample(frac=1, random_state=0)
    )


def _sentences(module: ModuleType | type) -> Iterator[str]:
    for name, member in inspect.getmembers(module):
        if name.startswith("_"):
            continue
        prose = re.sub(r"[^\w\s.,'()-]+", " ", inspect.getdoc(member) or "")
        for sentence in re.split(r"(?<=\.)\s+|\n\s*\n", prose):
            words = sentence.split()
            if len(words) >= _LEAST_WORDS and sentence.isascii():
                yield " ".join(words)


def _vectors() -> TfidfVectorizer:
    return TfidfVectorizer(max_features=1_500, token_pattern=_WORD)


def classifier() -> Example:
    """Return a model from a sentence to a library, with probabilities."""
    frame = load_sentences()
    half = len(frame) // 2
    trained, reference = frame[:half], frame[half:].reset_index(drop=True)
    model = make_pipeline(_vectors(), LogisticRegression(max_iter=500))
    model.fit(trained["sentence"], trained["library"])
    return Example(model, reference=reference, target="library", manifest={"held_out": True})


def vectors() -> Example:
    """Return a model from a sentence to a vector of 16 numbers (latent semantic analysis)."""
    frame = load_sentences()
    half = len(frame) // 2
    model: Pipeline = make_pipeline(_vectors(), TruncatedSVD(_DIMENSIONS, random_state=0))
    model.fit(frame["sentence"][:half])
    return Example(model, reference=frame[["sentence"]][half:].reset_index(drop=True))
