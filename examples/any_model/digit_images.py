"""Images: a convolutional network for digits, with tensors, files or pairs as input."""

from functools import cache
from typing import Any

import numpy as np
from convolution import CLASSES, SIDE, Network, load_images, train
from example import FLOAT, UINT8, Example, as_model, info, node
from onnx import TensorProto, helper, numpy_helper

_TRAINED = 1_200  # number of training images; the other images are the reference
_SCORES = {
    "task": "classification",
    "prediction": {"scores": "logits", "activation": "softmax", "classes": list(range(CLASSES))},
}


@cache
def _network() -> Network:
    images, labels = load_images()
    return train(images[:_TRAINED], labels[:_TRAINED])


def tensors() -> Example:
    """Return a model from pixels [N, 1, 8, 8] to the scores of ten classes."""
    network = _network()
    images, labels = load_images()
    graph = helper.make_graph(
        network.nodes("pixels", "logits"),
        "digits",
        [info("pixels", FLOAT, ["batch", 1, SIDE, SIDE])],
        [info("logits", FLOAT, ["batch", CLASSES])],
        network.weights(),
    )
    return Example(
        as_model(graph),
        reference={"pixels": images[_TRAINED:], "digit": labels[_TRAINED:]},
        target="digit",
        manifest=_SCORES | {"held_out": True},
    )


def files() -> Example:
    """Return a model from the bytes of a JPEG or PNG of any size to the scores of ten classes.

    The graph also outputs the resized pixels, so that their summaries are monitored.
    """
    network = _network()
    nodes = [
        node("DecodeImage", ["image"], ["decoded"], domain="com.microsoft.extensions"),
        node("Cast", ["decoded"], ["colours"], to=FLOAT),
        node("ReduceMean", ["colours", "last"], ["grey"], keepdims=0),
        node("Div", ["grey", "white"], ["scaled"]),
        node("Unsqueeze", ["scaled", "first"], ["image_4d"]),
        node("Resize", ["image_4d", "", "", "sizes"], ["pixels"], mode="linear", antialias=1),
        *network.nodes("pixels", "logits"),
    ]
    constants: dict[str, Any] = {
        "last": np.array([2]),
        "first": np.array([0, 1]),
        "sizes": np.array([1, 1, SIDE, SIDE]),
        "white": np.array(255, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "digit-files",
        [info("image", UINT8, [None])],
        [info("logits", FLOAT, [1, CLASSES]), info("pixels", FLOAT, [1, 1, SIDE, SIDE])],
        [*network.weights(), *(numpy_helper.from_array(v, n) for n, v in constants.items())],
    )
    summaries = [
        {"name": "file size", "tensor": "image", "statistic": "length"},
        {"name": "brightness", "tensor": "pixels", "statistic": "mean"},
        {"name": "contrast", "tensor": "pixels", "statistic": "std"},
    ]
    return Example(as_model(graph), manifest=_SCORES | {"summaries": summaries})


def pairs() -> Example:
    """Return a model from two images to the probability that both show the same digit."""
    network = _network()
    images, _ = load_images()
    nodes = [
        *network.nodes("left", "left_logits", "left_"),
        *network.nodes("right", "right_logits", "right_"),
        node("Softmax", ["left_logits"], ["left_shares"], axis=1),
        node("Softmax", ["right_logits"], ["right_shares"], axis=1),
        node("Mul", ["left_shares", "right_shares"], ["both"]),
        node("ReduceSum", ["both", "classes"], ["same"], keepdims=0),
    ]
    image: list[str | int | None] = ["batch", 1, SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "pairs",
        [info("left", FLOAT, image), info("right", FLOAT, image)],
        [info("same", FLOAT, ["batch"])],
        [*network.weights(), helper.make_tensor("classes", TensorProto.INT64, [1], [1])],
    )
    held_out = images[_TRAINED:]
    half = len(held_out) // 2
    return Example(
        as_model(graph),
        reference={"left": held_out[:half], "right": held_out[half : 2 * half]},
        manifest={"task": "regression", "prediction": {"label": "same"}},
    )
