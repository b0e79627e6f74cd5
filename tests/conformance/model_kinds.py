"""More than thirty kinds of public ONNX models by structure, small enough to build in a test.

Each is a file as an exporter writes it: graphs of onnx.helper in the shape of well-known networks,
and estimators as skl2onnx, onnxmltools and CatBoost convert them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from registry.encoded_files import EXTENSION_DOMAINS

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]
Build = Callable[[], bytes]
FLOAT, INT64, STRING, UINT8 = (
    TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.UINT8,
)  # fmt: skip
node = helper.make_node
_RANDOM = np.random.default_rng(17)


@dataclass(frozen=True)
class ModelKind:
    """One kind: how its file is made, and by which library."""

    name: str
    made_with: str
    build: Build
    needs: str = ""  # a module that is not installed with the tests


def info(name: str, kind: int, *shape: Any) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def file_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    **weights: Array,
) -> bytes:
    """Return a file of a graph whose initializers are `weights`."""
    constants = [numpy_helper.from_array(np.asarray(one), name) for name, one in weights.items()]
    graph = helper.make_graph(list(nodes), "kind", list(inputs), list(outputs), constants)
    domains = {"": 18, "ai.onnx.ml": 3} | dict.fromkeys(EXTENSION_DOMAINS, 1)
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


def weight(*shape: int) -> Array:
    return (_RANDOM.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def convolutional() -> bytes:
    """Convolution, ReLU, pooling, dense layer: LeNet, VGG."""
    return file_of(
        [
            node("Conv", ["image", "k"], ["a"], pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"]),
            node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Flatten", ["c"], ["d"]),
            node("Gemm", ["d", "w"], ["logits"]),
        ],
        [info("image", FLOAT, "batch", 3, 16, 16)],
        [info("logits", FLOAT, "batch", 10)],
        k=weight(8, 3, 3, 3), w=weight(512, 10),
    )  # fmt: skip


def residual() -> bytes:
    """Batch normalization and a skip connection, images of any size: ResNet."""
    return file_of(
        [
            node("Conv", ["image", "k1"], ["a"], pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["a", "s", "o", "m", "v"], ["b"]),
            node("Relu", ["b"], ["c"]),
            node("Conv", ["c", "k2"], ["d"], pads=[1, 1, 1, 1]),
            node("Add", ["b", "d"], ["e"]),
            node("GlobalAveragePool", ["e"], ["f"]),
            node("Flatten", ["f"], ["g"]),
            node("Gemm", ["g", "w"], ["h"]),
            node("Softmax", ["h"], ["probabilities"], axis=1),
        ],
        [info("image", FLOAT, "batch", 3, "height", "width")],
        [info("probabilities", FLOAT, "batch", 5)],
        k1=weight(8, 3, 3, 3), k2=weight(8, 8, 3, 3), w=weight(8, 5), s=np.ones(8, np.float32),
        o=np.zeros(8, np.float32), m=np.zeros(8, np.float32), v=np.ones(8, np.float32),
    )  # fmt: skip


def depthwise() -> bytes:
    """Depthwise convolution on pixels of bytes, channels last: MobileNet as TensorFlow exports."""
    return file_of(
        [
            node("Cast", ["image"], ["a"], to=FLOAT),
            node("Div", ["a", "white"], ["b"]),
            node("Transpose", ["b"], ["c"], perm=[0, 3, 1, 2]),
            node("Conv", ["c", "k1"], ["d"], group=3),
            node("Clip", ["d", "low", "high"], ["e"]),
            node("Conv", ["e", "k2"], ["f"]),
            node("GlobalAveragePool", ["f"], ["g"]),
            node("Flatten", ["g"], ["features"]),
        ],
        [info("image", UINT8, "batch", 16, 16, 3)],
        [info("features", FLOAT, "batch", 6)],
        k1=weight(3, 1, 3, 3), k2=weight(6, 3, 1, 1), white=np.float32(255),
        low=np.float32(0), high=np.float32(6),
    )  # fmt: skip


def _attention(tokens: str, out: str) -> list[onnx.NodeProto]:
    return [
        node("MatMul", [tokens, "wq"], ["q"]),
        node("MatMul", [tokens, "wk"], ["k"]),
        node("MatMul", [tokens, "wv"], ["v"]),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["qk"]),
        node("Softmax", ["qk"], ["share"], axis=-1),
        node("MatMul", ["share", "v"], ["mixed"]),
        node("Add", ["mixed", tokens], ["sum"]),
        node("LayerNormalization", ["sum", "scale"], [out]),
    ]


def _heads(width: int) -> dict[str, Array]:
    return {name: weight(width, width) for name in ("wq", "wk", "wv")} | {
        "scale": np.ones(width, np.float32)
    }


def vision_transformer() -> bytes:
    """Patches of an image as tokens: ViT, CLIP's image tower."""
    return file_of(
        [
            node("Conv", ["image", "k0"], ["patches"], strides=[4, 4]),
            node("Reshape", ["patches", "shape"], ["flat"]),
            node("Transpose", ["flat"], ["tokens"], perm=[0, 2, 1]),
            *_attention("tokens", "normal"),
            node("ReduceMean", ["normal", "one"], ["embedding"], keepdims=0),
        ],
        [info("image", FLOAT, "batch", 3, 16, 16)],
        [info("embedding", FLOAT, "batch", 8)],
        k0=weight(8, 3, 4, 4), shape=np.array([0, 8, -1]), one=np.array([1]), **_heads(8),
    )  # fmt: skip


def detector() -> bytes:
    """Boxes, and which of them remain after suppression; their number depends on values: YOLO."""
    return file_of(
        [
            node("Conv", ["image", "k0"], ["maps"], strides=[4, 4]),
            node("Reshape", ["maps", "shape"], ["rows"]),
            node("Split", ["rows", "parts"], ["corner", "scores"], axis=1),
            node("Transpose", ["corner"], ["boxes"], perm=[0, 2, 1]),
            node(
                "NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["selected"]
            ),
        ],
        [info("image", FLOAT, 1, 3, 16, 16)],
        [info("boxes", FLOAT, 1, 16, 4), info("selected", INT64, "found", 3)],
        k0=weight(6, 3, 4, 4), shape=np.array([0, 6, -1]), parts=np.array([4, 2]),
        most=np.array([10]), overlap=np.array([0.5], np.float32), least=np.array([0], np.float32),
    )  # fmt: skip


def segmentation() -> bytes:
    """A class for each pixel, through a smaller image and back: U-Net."""
    return file_of(
        [
            node("Conv", ["image", "k1"], ["small"], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("Relu", ["small"], ["active"]),
            node("ConvTranspose", ["active", "k2"], ["large"], strides=[2, 2], kernel_shape=[2, 2]),
            node("ArgMax", ["large"], ["mask"], axis=1, keepdims=0),
        ],
        [info("image", FLOAT, "batch", 3, 16, 16)],
        [info("mask", INT64, "batch", 16, 16), info("large", FLOAT, "batch", 2, 16, 16)],
        k1=weight(4, 3, 3, 3), k2=weight(4, 2, 2, 2),
    )  # fmt: skip


def super_resolution() -> bytes:
    """An image in, an image of twice the size out."""
    return file_of(
        [
            node("Resize", ["image", "", "scales"], ["large"], mode="linear"),
            node("Conv", ["large", "k"], ["sharp"], pads=[1, 1, 1, 1]),
        ],
        [info("image", FLOAT, "batch", 1, "height", "width")],
        [info("sharp", FLOAT, "batch", 1, "height2", "width2")],
        scales=np.array([1, 1, 2, 2], np.float32), k=weight(1, 1, 3, 3),
    )  # fmt: skip


def _recurrent(operator: str, gates: int) -> bytes:
    """A recurrent layer over a time series, of which the last state counts."""
    return file_of(
        [
            node("Transpose", ["series"], ["steps"], perm=[1, 0, 2]),
            node(operator, ["steps", "w", "r"], ["", "last"], hidden_size=6),
            node("Squeeze", ["last", "zero"], ["state"]),
            node("Gemm", ["state", "dense"], ["forecast"]),
        ],
        [info("series", FLOAT, "batch", "time", 4)],
        [info("forecast", FLOAT, "batch", 3)],
        w=weight(1, gates * 6, 4), r=weight(1, gates * 6, 6), zero=np.array([0]),
        dense=weight(6, 3),
    )  # fmt: skip


def language_model() -> bytes:
    """Token ids and a mask in, one vector for each text out: BERT, sentence encoders."""
    return file_of(
        [
            node("Gather", ["table", "input_ids"], ["tokens"]),
            *_attention("tokens", "normal"),
            node("Cast", ["attention_mask"], ["kept"], to=FLOAT),
            node("Unsqueeze", ["kept", "last"], ["weights"]),
            node("Mul", ["normal", "weights"], ["masked"]),
            node("ReduceSum", ["masked", "one"], ["embedding"], keepdims=0),
        ],
        [
            info("input_ids", INT64, "batch", "sequence"),
            info("attention_mask", INT64, "batch", "sequence"),
        ],
        [info("embedding", FLOAT, "batch", 8)],
        table=weight(30, 8), last=np.array([2]), one=np.array([1]), **_heads(8),
    )  # fmt: skip


def token_logits() -> bytes:
    """Token ids in, scores of the next token at every place out: GPT without its cache."""
    return file_of(
        [
            node("Gather", ["table", "input_ids"], ["tokens"]),
            *_attention("tokens", "normal"),
            node("MatMul", ["normal", "head"], ["logits"]),
        ],
        [info("input_ids", INT64, "batch", "sequence")],
        [info("logits", FLOAT, "batch", "sequence", 30)],
        table=weight(30, 8), head=weight(8, 30), **_heads(8),
    )  # fmt: skip


def recommender() -> bytes:
    """A user and an item in, how well they fit out: two towers."""
    return file_of(
        [
            node("Gather", ["users", "user"], ["u"]),
            node("Gather", ["items", "item"], ["i"]),
            node("Mul", ["u", "i"], ["both"]),
            node("ReduceSum", ["both", "one"], ["score"], keepdims=0),
        ],
        [info("user", INT64, "batch"), info("item", INT64, "batch")],
        [info("score", FLOAT, "batch")],
        users=weight(20, 8), items=weight(30, 8), one=np.array([1]),
    )  # fmt: skip


def ranking() -> bytes:
    """A vector in, the best five items with their scores out."""
    return file_of(
        [
            node("MatMul", ["query", "items"], ["scores"]),
            node("TopK", ["scores", "five"], ["best", "places"]),
        ],
        [info("query", FLOAT, "batch", 8)],
        [info("best", FLOAT, "batch", 5), info("places", INT64, "batch", 5)],
        items=weight(8, 40), five=np.array([5]),
    )  # fmt: skip


def spectrogram() -> bytes:
    """Samples of a recording in, a spectrum out."""
    return file_of(
        [
            node("Unsqueeze", ["samples", "last"], ["signal"]),
            node("STFT", ["signal", "step", "window"], ["complex"], onesided=1),
            node("ReduceSumSquare", ["complex", "last"], ["power"], keepdims=0),
            node("ReduceMean", ["power", "one"], ["spectrum"], keepdims=0),
        ],
        [info("samples", FLOAT, "batch", 512)],
        [info("spectrum", FLOAT, "batch", 33)],
        last=np.array([-1]), step=np.array(32), window=np.hanning(64).astype(np.float32),
        one=np.array([1]),
    )  # fmt: skip


def quantized() -> bytes:
    """Weights of bytes, inputs quantized by a fixed scale."""
    return file_of(
        [
            node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            node("QLinearMatMul", ["q", "scale", "zero", "w", "ws", "wz", "ys", "yz"], ["p"]),
            node("DequantizeLinear", ["p", "ys", "yz"], ["y"]),
        ],
        [info("x", FLOAT, "batch", 16)],
        [info("y", FLOAT, "batch", 4)],
        scale=np.float32(0.05), zero=np.uint8(128), ws=np.float32(0.01), wz=np.int8(0),
        w=_RANDOM.integers(-90, 90, (16, 4), dtype=np.int8), ys=np.float32(0.1),
        yz=np.uint8(128),
    )  # fmt: skip


def half_precision() -> bytes:
    """FP16 throughout."""
    half = TensorProto.FLOAT16
    return file_of(
        [node("MatMul", ["x", "w"], ["a"]), node("Tanh", ["a"], ["y"])],
        [info("x", half, "batch", 8)],
        [info("y", half, "batch", 8)],
        w=weight(8, 8).astype(np.float16),
    )


def normalized_texts() -> bytes:
    """Texts in, lower-case texts out."""
    return file_of(
        [node("StringNormalizer", ["text"], ["lower"], case_change_action="LOWER")],
        [info("text", STRING, "batch")],
        [info("lower", STRING, "batch")],
    )


def categories() -> bytes:
    """Strings, booleans and numbers side by side, each an input of its own."""
    return file_of(
        [
            node(
                "LabelEncoder", ["colour"], ["code"], domain="ai.onnx.ml",
                keys_strings=["red", "green"], values_floats=[1.0, 2.0], default_float=0.0,
            ),
            node("Cast", ["member"], ["flag"], to=FLOAT),
            node("Sum", ["code", "flag", "price"], ["variable"]),
        ],
        [
            info("colour", STRING, "batch", 1),
            info("member", TensorProto.BOOL, "batch", 1),
            info("price", FLOAT, "batch", 1),
        ],
        [info("variable", FLOAT, "batch", 1)],
    )  # fmt: skip


def choice() -> bytes:
    """A branch that depends on all rows together, so that requests run alone."""
    branches = {
        name: helper.make_graph([node(operator, ["x"], [name])], name, [], [info(name, FLOAT)])
        for name, operator in (("then", "Abs"), ("else", "Neg"))
    }
    for name, graph in branches.items():
        graph.output[0].CopyFrom(info(name, FLOAT, "batch", 4))
    return file_of(
        [
            node("ReduceMax", ["x"], ["most"], keepdims=0),
            node("Greater", ["most", "limit"], ["large"]),
            node(
                "If", ["large"], ["y"], then_branch=branches["then"], else_branch=branches["else"]
            ),
        ],
        [info("x", FLOAT, "batch", 4)],
        [info("y", FLOAT, "batch", 4)],
        limit=np.float32(1.5),
    )


def scan() -> bytes:
    """A loop over the steps of a series."""
    body = helper.make_graph(
        [node("Add", ["sum", "step"], ["next"]), node("Identity", ["next"], ["seen"])],
        "body",
        [info("sum", FLOAT, "batch", 3), info("step", FLOAT, "batch", 3)],
        [info("next", FLOAT, "batch", 3), info("seen", FLOAT, "batch", 3)],
    )
    return file_of(
        [
            node("ReduceSum", ["series", "one"], ["all"], keepdims=0),
            node("Mul", ["all", "nothing"], ["start"]),
            node(
                "Scan", ["start", "series"], ["last", "running"], body=body, num_scan_inputs=1,
                scan_input_axes=[1], scan_output_axes=[1],
            ),
        ],
        [info("series", FLOAT, "batch", 5, 3)],
        [info("last", FLOAT, "batch", 3), info("running", FLOAT, "batch", 5, 3)],
        one=np.array([1]), nothing=np.float32(0),
    )  # fmt: skip


def whole() -> bytes:
    """One matrix, no batch dimension."""
    return file_of(
        [node("ReduceMean", ["image"], ["mean"], keepdims=0)],
        [info("image", FLOAT, 3, 8, 8)],
        [info("mean", FLOAT)],
    )


def eight_rows() -> bytes:
    """A batch of exactly eight rows."""
    return file_of(
        [node("Gemm", ["x", "w"], ["y"])],
        [info("x", FLOAT, 8, 4)],
        [info("y", FLOAT, 8, 2)],
        w=weight(4, 2),
    )


def thresholded() -> bytes:
    """Rows and a scalar, and another one with a default."""
    nodes = [node("Mul", ["x", "by"], ["a"]), node("Greater", ["a", "limit"], ["above"])]
    inputs = [info("x", FLOAT, "batch", 6), info("by", FLOAT), info("limit", FLOAT)]
    outputs = [info("above", TensorProto.BOOL, "batch", 6)]
    return file_of(nodes, inputs, outputs, limit=np.float32(0.5))


def double_precision() -> bytes:
    """FP64, and an output of the correlations of all rows."""
    double = TensorProto.DOUBLE
    return file_of(
        [
            node("Transpose", ["x"], ["t"], perm=[1, 0]),
            node("MatMul", ["t", "x"], ["products"]),
            node("ReduceL2", ["x", "one"], ["norm"], keepdims=0),
        ],
        [info("x", double, "batch", 5)],
        [info("norm", double, "batch"), info("products", double, 5, 5)],
        one=np.array([1]),
    )


def encoded_image() -> bytes:
    """The bytes of a JPEG or PNG in."""
    return file_of(
        [
            node("DecodeImage", ["file"], ["pixels"], domain="com.microsoft.extensions"),
            node("Cast", ["pixels"], ["numbers"], to=FLOAT),
            node("ReduceMean", ["numbers", "sides"], ["colour"], keepdims=0),
        ],
        [info("file", UINT8, "bytes")],
        [info("colour", FLOAT, 3)],
        sides=np.array([0, 1]),
    )


def encoded_audio() -> bytes:
    """The bytes of a WAV, FLAC or MP3 in."""
    return file_of(
        [
            node("AudioDecoder", ["file"], ["samples"], domain="ai.onnx.contrib"),
            node("ReduceL2", ["samples"], ["loudness"], keepdims=0),
        ],
        [info("file", UINT8, "bytes")],
        [info("loudness", FLOAT)],
    )


_HELPER = "onnx.helper"
GRAPHS = [
    ModelKind("convolutional network", _HELPER, convolutional),
    ModelKind("residual network, any image size", _HELPER, residual),
    ModelKind("depthwise network, channels last", _HELPER, depthwise),
    ModelKind("vision transformer", _HELPER, vision_transformer),
    ModelKind("object detector", _HELPER, detector),
    ModelKind("segmentation", _HELPER, segmentation),
    ModelKind("super resolution", _HELPER, super_resolution),
    ModelKind("LSTM", _HELPER, partial(_recurrent, "LSTM", 4)),
    ModelKind("GRU", _HELPER, partial(_recurrent, "GRU", 3)),
    ModelKind("text encoder", _HELPER, language_model),
    ModelKind("language model", _HELPER, token_logits),
    ModelKind("two-tower recommender", _HELPER, recommender),
    ModelKind("ranking", _HELPER, ranking),
    ModelKind("spectrogram", _HELPER, spectrogram),
    ModelKind("quantized network", _HELPER, quantized),
    ModelKind("half precision", _HELPER, half_precision),
    ModelKind("double precision", _HELPER, double_precision),
    ModelKind("texts to texts", _HELPER, normalized_texts),
    ModelKind("mixed columns", _HELPER, categories),
    ModelKind("branch on values", _HELPER, choice),
    ModelKind("scan over a series", _HELPER, scan),
    ModelKind("no batch dimension", _HELPER, whole),
    ModelKind("fixed batch", _HELPER, eight_rows),
    ModelKind("scalar and default input", _HELPER, thresholded),
    ModelKind("encoded image", "onnxruntime-extensions", encoded_image),
    ModelKind("encoded audio", "onnxruntime-extensions", encoded_audio),
]


def named(kinds: Sequence[ModelKind]) -> Mapping[str, ModelKind]:
    """Return the kinds by the names under which they are registered."""
    return {kind.name.replace(",", "").replace(" ", "-").lower(): kind for kind in kinds}
