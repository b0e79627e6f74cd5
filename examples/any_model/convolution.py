"""A small convolutional network in NumPy: one convolution, ReLU, max pooling, one dense layer.

It is implemented here so that the examples need no framework. It learns scikit-learn's digits in
seconds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from example import node
from onnx import numpy_helper
from sklearn.datasets import load_digits

Array = np.ndarray[Any, Any]
SIDE, FILTERS, KERNEL, CLASSES = 8, 16, 3, 10
POOLED = (SIDE - KERNEL + 1) // 2  # side of a pooled map: 3
_EPOCHS, _BATCH, _RATE, _MOMENTUM = 12, 32, 0.05, 0.9


def load_images() -> tuple[Array, Array]:
    """Return 1,797 shuffled digits as images [N, 1, 8, 8] with values from 0 to 1, and labels."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = digits.images[order, None].astype(np.float32) / 16
    return images, digits.target[order].astype(np.int64)


@dataclass
class Network:
    """The weights: `kernels` [filters, 9], `dense` [filters * 9, classes], and biases."""

    kernels: Array
    offsets: Array
    dense: Array
    biases: Array

    def nodes(self, image: str, logits: str, prefix: str = "") -> list[onnx.NodeProto]:
        """Return the operators that compute `logits` [N, 10] from `image` [N, 1, 8, 8]."""
        steps = [prefix + step for step in ("maps", "active", "pooled", "flat")]
        maps, active, pooled, flat = steps
        return [
            node("Conv", [image, "kernels", "offsets"], [maps]),
            node("Relu", [maps], [active]),
            node("MaxPool", [active], [pooled], kernel_shape=[2, 2], strides=[2, 2]),
            node("Flatten", [pooled], [flat]),
            node("Gemm", [flat, "dense", "biases"], [logits]),
        ]

    def weights(self) -> list[onnx.TensorProto]:
        """Return the weights as tensors of the graph."""
        kernels = self.kernels.reshape(FILTERS, 1, KERNEL, KERNEL)
        arrays = {
            "kernels": kernels,
            "offsets": self.offsets,
            "dense": self.dense,
            "biases": self.biases,
        }
        return [numpy_helper.from_array(array, name) for name, array in arrays.items()]


def train(images: Array, labels: Array) -> Network:
    """Train a network by gradient descent on the cross-entropy."""
    random = np.random.default_rng(1)
    inputs = FILTERS * POOLED * POOLED
    weights = [
        random.normal(0, 0.3, (FILTERS, KERNEL * KERNEL)),
        np.zeros(FILTERS),
        random.normal(0, inputs**-0.5, (inputs, CLASSES)),
        np.zeros(CLASSES),
    ]
    speeds = [np.zeros_like(weight) for weight in weights]
    patches = _patches(images)
    for _ in range(_EPOCHS):
        for batch in np.array_split(random.permutation(len(labels)), len(labels) // _BATCH):
            slopes = _gradients(weights, patches[batch], labels[batch])
            for place, slope in enumerate(slopes):
                speeds[place] = _MOMENTUM * speeds[place] - _RATE * slope
                weights[place] = weights[place] + speeds[place]
    return Network(*(weight.astype(np.float32) for weight in weights))


def _patches(images: Array) -> Array:
    """Return the 3 x 3 neighbourhood of each pixel: [N, 6, 6, 9]."""
    windows = np.lib.stride_tricks.sliding_window_view(images[:, 0], (KERNEL, KERNEL), axis=(1, 2))
    return windows.reshape(*windows.shape[:3], KERNEL * KERNEL).astype(np.float64)


def _gradients(weights: list[Array], patches: Array, labels: Array) -> list[Array]:
    kernels, offsets, dense, biases = weights
    count = len(labels)
    maps = patches @ kernels.T + offsets  # [N, 6, 6, filters]
    blocks = maps.reshape(count, POOLED, 2, POOLED, 2, FILTERS)
    pooled = np.maximum(blocks.max(axis=(2, 4)), 0)
    flat = pooled.transpose(0, 3, 1, 2).reshape(count, -1)  # in the order of Flatten
    logits = flat @ dense + biases
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(count), labels] -= 1
    shares /= count
    backward = (shares @ dense.T).reshape(count, FILTERS, POOLED, POOLED).transpose(0, 2, 3, 1)
    largest = blocks == blocks.max(axis=(2, 4), keepdims=True)
    spread = largest * (backward * (pooled > 0))[:, :, None, :, None, :]
    slopes = spread.reshape(maps.shape)
    return [
        np.einsum("nhwf,nhwk->fk", slopes, patches),
        slopes.sum(axis=(0, 1, 2)),
        flat.T @ shares,
        shares.sum(axis=0),
    ]
