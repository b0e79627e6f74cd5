"""Audio: a classifier of recordings by their kind of tone.

The graph decodes the file, computes a spectrogram and classifies the spectrogram's mean over time.
"""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from example import EXTENSIONS, FLOAT, UINT8, Example, as_model, info, node
from onnx import helper, numpy_helper
from onnxruntime_extensions import get_library_path
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from registry.encoded_files import encode_wav

Array = np.ndarray[Any, Any]
KINDS = ["noise", "sawtooth", "sine", "square"]
RATE = 16_000
_FRAME, _STEP = 256, 128  # samples
_BANDS = _FRAME // 2 + 1
_TRAINED = 200  # number of training recordings


def make_recording(kind: str, random: np.random.Generator) -> bytes:
    """Return a WAV of half a second: a tone of random pitch and loudness, with some noise."""
    times = np.arange(RATE // 2) / RATE
    phase = times * random.uniform(200, 1_500) + random.random()
    waves = {
        "noise": random.uniform(-1, 1, len(times)),
        "sawtooth": 2 * (phase % 1) - 1,
        "sine": np.sin(2 * np.pi * phase),
        "square": np.where(phase % 1 < 0.5, 1.0, -1.0),
    }
    wave = waves[kind] * random.uniform(0.2, 0.8) + random.normal(0, 0.02, len(times))
    return encode_wav(wave, RATE)


def recordings() -> Example:
    """Return a model from the bytes of a WAV, FLAC or MP3 to the scores of four kinds of tone."""
    random = np.random.default_rng(0)
    kinds = [KINDS[place % len(KINDS)] for place in range(_TRAINED)]
    front = _session(as_model(_graph(_spectrum(), "bands", [1, _BANDS])))
    bands = np.concatenate(
        [
            front.run(None, {"recording": as_input(make_recording(kind, random))})[0]
            for kind in kinds
        ]
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(bands, kinds)
    scaler, regression = model[0], model[1]
    weights = regression.coef_.T / scaler.scale_[:, None]
    constants = {
        "weights": weights.astype(np.float32),
        "biases": (regression.intercept_ - scaler.mean_ @ weights).astype(np.float32),
    }
    nodes = [*_spectrum(), node("Gemm", ["bands", "weights", "biases"], ["logits"])]
    manifest = {
        "task": "classification",
        "prediction": {"scores": "logits", "activation": "softmax", "classes": KINDS},
    }
    graph = _graph(nodes, "logits", [1, len(KINDS)], **constants)
    graph.output.append(info("bands", FLOAT, [1, _BANDS]))  # so that its summaries are monitored
    return Example(as_model(graph), manifest=manifest)


def as_input(recording: bytes) -> Array:
    """Return a file as the input tensor of a request."""
    return np.frombuffer(recording, np.uint8)


def _spectrum() -> list[onnx.NodeProto]:
    """Return the operators that compute `bands` [1, bands], the mean of a log spectrogram."""
    return [
        node("AudioDecoder", ["recording"], ["samples"], domain=EXTENSIONS),  # [1, samples]
        node("Unsqueeze", ["samples", "last"], ["signal"]),
        node("STFT", ["signal", "step", "window"], ["complex"], onesided=1),
        node("ReduceSumSquare", ["complex", "last"], ["power"], keepdims=0),  # [1, frames, bands]
        node("Add", ["power", "silence"], ["audible"]),
        node("Log", ["audible"], ["loudness"]),
        node("ReduceMean", ["loudness", "frames"], ["bands"], keepdims=0),
    ]


def _graph(
    nodes: list[onnx.NodeProto], output: str, shape: list[int], **constants: Array
) -> onnx.GraphProto:
    constants |= {
        "step": np.array(_STEP),
        "window": np.hanning(_FRAME).astype(np.float32),
        "silence": np.array(1e-6, np.float32),
        "last": np.array([-1]),
        "frames": np.array([1]),
    }
    return helper.make_graph(
        nodes,
        "tones",
        [info("recording", UINT8, [None])],
        [info(output, FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(get_library_path())
    return onnxruntime.InferenceSession(model.SerializeToString(), options)
