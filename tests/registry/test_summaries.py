"""Summaries of tensors: the defaults, and agreement with NumPy."""

from typing import Any

import numpy as np
import pytest

from registry.manifest import Manifest, Signature, Summary, TensorSpec
from registry.summaries import Summarizer, default_summaries

Y = TensorSpec("y", "FP32", [-1])
RNG = np.random.default_rng(7)


def summarize(
    spec: TensorSpec, array: Any, rows: int, stated: list[Summary] | None = None
) -> dict[str, list[float | None]]:
    found = Signature([spec], [Y])
    summaries = default_summaries(found, ["y"]) if stated is None else stated
    return Summarizer(Manifest(signature=found, summaries=summaries)).summarize(
        {spec.name: array}, rows
    )


def names(*specs: TensorSpec) -> list[str]:
    return [one.name for one in default_summaries(Signature(list(specs), [Y]), ["y"])]


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.uint8])
@pytest.mark.parametrize("layout", ["first", "last"])
def test_an_image_has_brightness_contrast_and_its_channels(kind: Any, layout: str) -> None:
    array = (RNG.random((3, 3, 40, 50)) * 200).astype(kind)
    datatype = {"float32": "FP32", "float64": "FP64", "float16": "FP16", "uint8": "UINT8"}
    shape = [-1, 3, -1, -1] if layout == "first" else [-1, 40, 50, 3]
    sent = array if layout == "first" else np.moveaxis(array, 1, 3)
    spec = TensorSpec("pixels", datatype[np.dtype(kind).name], shape)
    found = summarize(spec, sent, 3)
    exact = array.astype(np.float64)
    assert np.allclose(found["pixels: brightness"], exact.mean(axis=(1, 2, 3)), rtol=1e-5)
    assert np.allclose(found["pixels: contrast"], exact.std(axis=(1, 2, 3)), rtol=1e-5)
    assert np.allclose(found["pixels: channel 2 mean"], exact[:, 2].mean(axis=(1, 2)), rtol=1e-5)
    assert np.allclose(found["pixels: channel 0 std"], exact[:, 0].std(axis=(1, 2)), rtol=1e-5)
    assert ("pixels: size" in found) == (layout == "first")


def test_numbers_are_those_of_numpy_in_rows_longer_than_a_block() -> None:
    array = (RNG.standard_normal((2, 700, 130)) * 3 + 1e4).astype(np.float32)
    array[0, 0, :50] = 0
    found = summarize(TensorSpec("x", "FP32", [-1, 700, 130]), array, 2)
    exact = array.astype(np.float64).reshape(2, -1)
    assert np.allclose(found["x: mean"], exact.mean(axis=1), rtol=1e-6)
    assert np.allclose(found["x: std"], exact.std(axis=1), rtol=1e-4)
    assert found["x: min"] == exact.min(axis=1).tolist()
    assert found["x: max"] == exact.max(axis=1).tolist()
    assert np.allclose(found["x: norm"], np.linalg.norm(exact, axis=1), rtol=1e-5)
    assert found["x: zeros"] == [50 / 91_000, 0.0]
    assert found["x: missing"] == [0.0, 0.0]


def test_values_that_are_not_finite_count_as_missing() -> None:
    array = np.array([[1, np.nan, 3, np.inf], [0, 0, 2, 2], [np.nan] * 4], np.float32)
    found = summarize(TensorSpec("x", "FP32", [-1, 2, 2]), array.reshape(3, 2, 2), 3)
    assert found["x: mean"] == [2.0, 1.0, None]
    assert found["x: std"] == [1.0, 1.0, None]
    assert found["x: max"] == [3.0, 2.0, None]
    assert found["x: missing"] == [0.5, 0.0, 1.0]
    assert found["x: zeros"] == [0.0, 0.5, 0.0]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_sums_that_overflow_are_no_error(kind: Any) -> None:
    largest = float(np.finfo(kind).max)
    array = np.full((1, 2, 2), largest, kind)
    datatype = "FP32" if kind is np.float32 else "FP64"
    found = summarize(TensorSpec("x", datatype, [-1, 2, 2]), array, 1)
    assert found["x: max"] == [largest]
    assert found["x: missing"] == [0.0]
    assert found["x: norm"] == [2 * largest if kind is np.float32 else None]


def test_a_text_has_length_word_count_and_non_ascii_share() -> None:
    texts = np.array(["grün ist schön", "", "one\ttwo  three\n"], dtype=np.object_)
    found = summarize(TensorSpec("text", "BYTES", [-1]), texts, 3)
    assert found == {
        "text: length": [14.0, 0.0, 15.0],
        "text: words": [3.0, 0.0, 3.0],
        "text: non-ASCII share": [2 / 14, 0.0, 0.0],
        "text: empty": [0.0, 1.0, 0.0],
    }
    long = "word " * 5_000 + "last"
    assert summarize(TensorSpec("t", "BYTES", [-1, 1]), np.array([[long]], dtype=object), 1)[
        "t: words"
    ] == [5_001.0]


def test_a_vector_has_its_norm_and_fixed_projections() -> None:
    array = RNG.standard_normal((5, 64)).astype(np.float32)
    spec = TensorSpec("embedding", "FP32", [-1, 64])
    found = summarize(spec, array, 5)
    assert list(found) == ["embedding: norm", *(f"embedding: projection {i}" for i in range(4))]
    assert np.allclose(found["embedding: norm"], np.linalg.norm(array, axis=1), rtol=1e-6)
    single = summarize(spec, array[2:3], 1)
    assert np.isclose(single["embedding: projection 3"], found["embedding: projection 3"][2])
    # Fixed for ever: stored baselines rely on it.
    ones = summarize(spec, np.ones((1, 64), np.float32), 1)
    assert [ones[f"embedding: projection {i}"] for i in range(4)] == FIXED


FIXED = [[-0.5], [1.25], [1.25], [-0.75]]


@pytest.mark.parametrize(
    ("shape", "array", "rows", "mean"),
    [
        ([], np.array(2.0, np.float32), 1, [2.0]),
        ([-1], np.array([1, 2], np.float32), 2, [1.0, 2.0]),
        ([-1, 0], np.zeros((2, 0), np.float32), 2, [None, None]),
        ([-1, 2, 2], np.zeros((0, 2, 2), np.float32), 0, []),
    ],
)
def test_scalars_and_empty_rows(shape: list[int], array: Any, rows: int, mean: Any) -> None:
    spec = TensorSpec("x", "FP32", shape)
    found = summarize(spec, array, rows, [Summary("m", "x", "mean"), Summary("n", "x", "l2_norm")])
    assert found["m"] == mean
    assert len(found["n"]) == rows


def test_a_model_without_batch_dimension_counts_as_one_row() -> None:
    spec, answer = TensorSpec("x", "FP32", [3, 8, 8]), TensorSpec("scores", "FP32", [10])
    found = Signature([spec], [answer])
    manifest = Manifest(signature=found, summaries=default_summaries(found, []))
    tensors = {"x": np.ones((3, 8, 8), np.float32), "scores": np.ones(10, np.float32)}
    summaries = Summarizer(manifest).summarize(tensors, 1)
    assert summaries["x: brightness"] == [1.0]
    assert len(summaries["scores: norm"]) == 1


def test_an_output_without_one_row_per_request_row_has_no_summary() -> None:
    found = Signature([TensorSpec("x", "FP32", [-1, 2])], [TensorSpec("boxes", "FP32", [-1, 4])])
    summarizer = Summarizer(Manifest(signature=found, summaries=default_summaries(found, ["x"])))
    boxes = np.ones((3, 4), np.float32)
    assert summarizer.summarize({"boxes": boxes}, 2)["boxes: norm"] == [None, None]
    assert len(summarizer.summarize({"boxes": boxes}, 1)["boxes: norm"]) == 1


def test_tensors_with_features_or_the_prediction_have_no_summary() -> None:
    assert names(TensorSpec("y", "FP32", [-1, 2])) == []
    assert names(TensorSpec("flag", "BOOL", [-1, 1])) == ["flag: value"]
    assert "ids: size" in names(TensorSpec("ids", "INT64", [-1, -1]))


def test_a_manifest_may_rename_and_drop_summaries() -> None:
    stated = [Summary("light", "x", "mean"), Summary("red", "x", "mean", 0)]
    array = np.stack([np.full((4, 4), value, np.float32) for value in (1, 2, 3)])[None]
    found = summarize(TensorSpec("x", "FP32", [-1, 3, 4, 4]), array, 1, stated)
    assert found == {"light": [2.0], "red": [1.0]}
